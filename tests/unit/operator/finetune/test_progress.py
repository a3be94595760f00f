"""A pod may answer anything: what comes of it is a progress that the API server takes, or a refusal."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from finetune_operator.api.status import FineTuneJobStatus, ProgressStatus, SampleStatus
from finetune_operator.finetune.observed import ObservedProgress
from finetune_operator.finetune.progress import MAX_ANSWER_BYTES, InvalidProgressError, parse_progress

FIELDS = (
    *("stage", "step", "totalSteps", "loss", "validationLoss", "tokensPerSecond", "etaSeconds"),
    *("expertLoad", "expertRankLoad", "slowestRank", "slowdown"),
    *("lastCheckpoint", "bytesFetched", "bytesLoaded", "bytesTotal", "samples", "samplesStep", "tracking"),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None))
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
ANSWERS = st.dictionaries(st.sampled_from(FIELDS), ANYTHING)


@given(st.binary() | (ANYTHING | ANSWERS).map(json.dumps).map(str.encode))
@example(b"[" * MAX_ANSWER_BYTES)
@example(b'{"step": 1' + b"0" * 5000 + b"}")
@example(b'{"loss": 1' + b"0" * 400 + b"}")
@example(b'{"loss": NaN, "etaSeconds": 1e999, "step": -1, "lastCheckpoint": "\\ud800"}')
def test_every_answer_is_a_valid_status_or_refused(body: bytes) -> None:
    try:
        progress = parse_progress(body)
    except InvalidProgressError:
        return
    samples = [SampleStatus(prompt=prompt, text=text) for prompt, text in progress.samples]
    told = {name: value for name, value in vars(progress).items() if name != "tracking"}
    progress_status = ProgressStatus(**told | {"samples": samples})
    status = FineTuneJobStatus(progress=progress_status, tracking=dict(progress.tracking))
    assert json.dumps(status.to_dict(), allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no JSON"),
        (b"[]", "no object: list"),
        (b'"step 3"', "no object: str"),
        (b"null", "no object: NoneType"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 1000 + b"]" * 1000, "no JSON"),
        (b"{}" + b" " * MAX_ANSWER_BYTES, "more than"),
    ],
    ids=["nothing", "list", "string", "null", "bytes", "brackets in brackets", "too long"],
)
def test_what_is_no_object_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(InvalidProgressError, match=why):
        parse_progress(body)


@pytest.mark.parametrize("said", ["bytesFetched", "bytesLoaded"])
def test_how_much_of_the_base_is_there(said: str) -> None:
    answer = {"bytesFetched": None, "bytesLoaded": None, said: 5 * 10**11, "bytesTotal": 10**12}
    assert parse_progress(json.dumps(answer).encode()) == ObservedProgress(
        stage="", bytes_done=5 * 10**11, bytes_total=10**12
    )


def test_what_is_garbled_is_unknown() -> None:
    said = {"stage": ["train"], "step": 1.5, "totalSteps": True, "loss": "low", "lastCheckpoint": "x" * 5000}
    assert parse_progress(json.dumps({**said, "etaSeconds": 3}).encode()) == ObservedProgress(
        stage="", eta_seconds=3.0
    )


@pytest.mark.parametrize(
    ("told", "samples"),
    [
        pytest.param([{"prompt": "Hi", "text": "Hello", "end": "stop"}], (("Hi", "Hello"),), id="one"),
        pytest.param([{"prompt": "Hi", "text": ""}], (("Hi", ""),), id="an empty answer"),
        pytest.param([{"text": "Hello"}, 3, {"prompt": "Hi"}], (("Hi", ""),), id="junk between"),
        pytest.param(
            [{"prompt": "Hi", "text": "x"}] * 99, (("Hi", "x"),) * 8, id="more than can be asked for"
        ),
        pytest.param("Hi", (), id="no list"),
    ],
)
def test_samples(told: object, samples: tuple[tuple[str, str], ...]) -> None:
    assert parse_progress(json.dumps({"samples": told}).encode()).samples == samples
