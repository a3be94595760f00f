"""A base and a dataset from the hub, over real HTTP: resumed, checked, shared, refused."""

import errno
import json
import multiprocessing
import socket
import urllib.request

import pytest
from hub_server import COMMIT
from waiting import HANG_SECONDS

from finetune_trainer.__main__ import main
from finetune_trainer.prepare import fetch as fetch_module
from finetune_trainer.prepare.marker import MARKER, read_marker

SHARD = "model-00001-of-00002.safetensors"


def termination(volume):
    return json.loads((volume.root.parent / "termination-log").read_text())


def test_a_snapshot_is_fetched_without_pickle_or_code(volume, hub_base, pristine_base):
    assert main(["prepare", *volume.arguments]) == 0
    assert {file.name for file in volume.base.iterdir()} == {
        file.name for file in pristine_base.iterdir()
    } | {MARKER}
    marker = read_marker(volume.base)
    assert (marker.source, marker.revision) == ("hf://acme/tiny", COMMIT)
    assert hub_base.tokens == {"Bearer hf_token"}


def test_the_second_job_finds_it_done(volume, hub_base):
    assert main(["prepare", *volume.arguments]) == 0
    hub_base.fetched.clear()
    volume.document["paths"]["run"] = "runs/default/other/1"
    assert main(["prepare", *volume.arguments]) == 0
    assert hub_base.fetched == []


def test_an_interrupted_download_is_resumed(volume, hub_base, checksum, pristine_base, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 2**20)
    hub_base.faults.cut_after[SHARD] = 3_000_000
    assert main(["prepare", *volume.arguments]) == 0
    assert (SHARD, "bytes=2097152-") in hub_base.ranges
    assert checksum(volume.base / SHARD) == checksum(pristine_base / SHARD)


def test_an_earlier_attempts_files_are_kept(volume, hub_base):
    hub_base.faults.corrupt[SHARD] = 9
    assert main(["prepare", *volume.arguments]) == 11
    hub_base.fetched.clear()
    hub_base.faults.corrupt.clear()
    assert main(["prepare", *volume.arguments]) == 0
    assert hub_base.fetched == [SHARD]


@pytest.mark.parametrize("name", [SHARD, "tokenizer.json"], ids=["lfs", "git"])
def test_a_corrupted_file_is_fetched_again(volume, hub_base, checksum, pristine_base, name):
    hub_base.faults.corrupt[name] = 1
    assert main(["prepare", *volume.arguments]) == 0
    assert hub_base.fetched.count(name) == 2
    assert checksum(volume.base / name) == checksum(pristine_base / name)


def test_a_file_that_stays_corrupted_is_named_and_removed(volume, hub_base):
    hub_base.faults.corrupt[SHARD] = 9
    assert main(["prepare", *volume.arguments]) == 11
    assert termination(volume)["reason"] == "SourceCorrupted"
    assert SHARD in termination(volume)["message"]
    assert not (volume.base / SHARD).exists()
    assert not (volume.base / MARKER).exists()


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "reason", "message"),
    [
        pytest.param(401, "RepoNotFound", 2, "SourceNotFound", "not found, or private (401)", id="private"),
        pytest.param(404, "RepoNotFound", 2, "SourceNotFound", "not found, or private (404)", id="missing"),
        pytest.param(
            404, "RevisionNotFound", 2, "SourceNotFound", "there is no revision main", id="revision"
        ),
        pytest.param(403, "GatedRepo", 2, "SourceForbidden", "this token may not read it", id="gated"),
        pytest.param(401, "", 2, "SourceNotFound", "not found, or private (401)", id="bad-token"),
        pytest.param(500, "", 11, "SourceUnreachable", "the hub cannot be reached", id="server-error"),
    ],
)
def test_a_refusal_is_clear(volume, hub_base, status, code, exit_code, reason, message, capsys):
    hub_base.faults.status, hub_base.faults.error_code = status, code
    assert main(["prepare", *volume.arguments]) == exit_code
    told = termination(volume)
    assert told["reason"] == reason
    assert told["message"].startswith("hf://acme/tiny: ")
    assert message in told["message"]
    assert capsys.readouterr().err.count("error: hf://acme/tiny") == 1


def test_a_limit_of_requests_is_waited_for(volume, hub_base):
    hub_base.faults.limited = 2
    assert main(["prepare", *volume.arguments]) == 0


def test_a_limit_that_stays_is_told_with_what_raises_it(volume, hub_base):
    hub_base.faults.limited = 99
    assert main(["prepare", *volume.arguments]) == 11
    assert termination(volume)["message"] == "hf://acme/tiny: the hub takes no more requests for now (429)"
    assert "with a token (tokenSecretRef) the limit is higher" in termination(volume)["remedy"]


def test_a_page_instead_of_the_hub_is_retried(volume, hub_base):
    hub_base.faults.page = True
    assert main(["prepare", *volume.arguments]) == 11
    assert termination(volume)["reason"] == "SourceUnreachable"
    assert "what answered is not the hub: a page" in termination(volume)["message"]
    hub_base.faults.page = False
    assert main(["prepare", *volume.arguments]) == 0


@pytest.mark.usefixtures("hub_base")
def test_a_hub_that_does_not_answer_is_retried_later(volume, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["prepare", *volume.arguments]) == 11
    assert termination(volume)["reason"] == "SourceUnreachable"


def test_the_description_is_checked_before_the_weights_are_fetched(volume, hub_base):
    volume.document["flavor"] = "16B_lora"
    assert main(["prepare", *volume.arguments]) == 2
    assert not [name for name in hub_base.fetched if name.endswith(".safetensors")]


def test_the_data_is_checked_before_the_weights_are_fetched(volume, hub_base):
    volume.dataset.write_text("{\n")
    assert main(["prepare", *volume.arguments]) == 3
    assert termination(volume)["message"].startswith("faq.jsonl:1: not JSON")
    assert not [name for name in hub_base.fetched if name.endswith(".safetensors")]


@pytest.mark.usefixtures("hub_base")
def test_a_full_volume_is_told_with_the_bytes(volume, monkeypatch):
    usage = type("Usage", (), {"free": 5_000_000})
    monkeypatch.setattr(fetch_module.shutil, "disk_usage", lambda _folder: usage)
    assert main(["prepare", *volume.arguments]) == 13
    told = termination(volume)
    assert told["reason"] == "StorageFull"
    assert "the volume has 5,000,000 free" in told["message"]


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        pytest.param(
            "finetune_trainer.prepare.hub.snapshot_download",
            OSError(errno.ENOSPC, "No space left on device"),
            "no space left on the volume",
            id="fetching",
        ),
        pytest.param(
            "finetune_trainer.data.columns.array",
            OSError(errno.ENOSPC, "No space left on device"),
            "tokens/trained.bool: no space left on the volume",
            id="tokenizing",
        ),
    ],
)
def test_a_volume_that_becomes_full_loses_nothing(volume, hub_base, monkeypatch, place, error, message):
    def fail(*_arguments, **_named):
        raise error

    with monkeypatch.context() as full:
        full.setattr(place, fail)
        assert main(["prepare", *volume.arguments]) == 13
    assert termination(volume)["reason"] == "StorageFull"
    assert termination(volume)["message"].endswith(message)
    fetched = set(hub_base.fetched)
    hub_base.fetched.clear()
    assert main(["prepare", *volume.arguments]) == 0
    assert not fetched & set(hub_base.fetched)


def test_a_repository_without_a_model_is_refused(volume, hub_base):
    hub_base.add("acme/tiny", {"README.md": b"hello"})
    assert main(["prepare", *volume.arguments]) == 3
    assert termination(volume)["message"] == "hf://acme/tiny: config.json is missing"


def _prepare_in_a_process(arguments, results):
    results.put(main(["prepare", *arguments]))


def test_two_jobs_at_once_fetch_it_once(volume, hub_base, checksum, pristine_base):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    for number in range(2):
        volume.document["paths"]["run"] = f"runs/default/job-{number}/1"
        file = volume.root / f"run-{number}.json"
        file.write_text(json.dumps(volume.document))
        arguments = ["--run", str(file), "--root", str(volume.root)]
        context.Process(target=_prepare_in_a_process, args=(arguments, results), daemon=True).start()
    assert [results.get(timeout=HANG_SECONDS) for _ in range(2)] == [0, 0]
    assert hub_base.fetched.count(SHARD) == 1
    assert checksum(volume.base / SHARD) == checksum(pristine_base / SHARD)


@pytest.mark.parametrize(
    ("uri", "lines"),
    [
        pytest.param("hf://acme/chats", 2, id="split-of-a-repository"),
        pytest.param("hf://acme/chats/extra/more.jsonl", 1, id="one-file"),
        pytest.param("hf://acme/chats/rows", 2, id="folder-of-parquet"),
    ],
)
def test_a_dataset_is_fetched(volume, hub, copy_base, as_parquet, uri, lines):
    copy_base()
    line = volume.dataset.read_bytes().splitlines(keepends=True)[0]
    files = {"train.jsonl": line * 2, "test.jsonl": line, "extra/more.jsonl": line, "README.md": b""}
    hub.add("datasets/acme/chats", files | {"rows/part-0.parquet": as_parquet(line * 2)})
    volume.source.update({"uri": uri, "path": "datasets/acme--chats@main"})
    assert main(["prepare", *volume.arguments]) == 0
    assert json.loads((volume.run / "data-report.json").read_text())["lines"] == lines
    assert json.loads((volume.run / "prepared.json").read_text())["dataset"]["sources"] == [
        {"source": uri, "revision": COMMIT}
    ]


def test_a_dataset_is_fetched_with_its_own_token(volume, hub, copy_base, monkeypatch):
    monkeypatch.setenv("HF_DATASET_TOKEN", "hf_of_the_dataset")
    copy_base()
    hub.add("datasets/acme/chats", {"train.jsonl": volume.dataset.read_bytes()})
    volume.source.update({"uri": "hf://acme/chats", "path": "datasets/acme--chats@main"})
    assert main(["prepare", *volume.arguments]) == 0
    assert hub.tokens == {"Bearer hf_of_the_dataset"}


def test_files_that_another_job_fetched_of_the_same_dataset_are_not_read(volume, hub, copy_base):
    copy_base()
    line = volume.dataset.read_bytes().splitlines(keepends=True)[0]
    hub.add("datasets/acme/chats", {"train.jsonl": line * 2})
    volume.source.update({"uri": "hf://acme/chats", "path": "datasets/acme--chats@main"})
    other = volume.root / "datasets/acme--chats@main/extra/train.jsonl"
    other.parent.mkdir(parents=True)
    other.write_bytes(line)
    assert main(["prepare", *volume.arguments]) == 0
    assert json.loads((volume.run / "data-report.json").read_text())["sources"][0]["files"] == ["train.jsonl"]


def test_a_dataset_without_json_lines_is_refused(volume, hub, copy_base):
    copy_base()
    hub.add("datasets/acme/chats", {"train.csv": b""})
    volume.source["uri"] = "hf://acme/chats"
    assert main(["prepare", *volume.arguments]) == 3
    assert "*.parquet file of split train" in termination(volume)["message"]


@pytest.mark.usefixtures("hub_base")
def test_progress_is_served_while_it_fetches(volume, monkeypatch):
    answers = []
    original = fetch_module.check_space

    def look(folder, needed, uri):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=HANG_SECONDS) as answer:
            answers.append(json.load(answer))
        original(folder, needed, uri)

    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("FINETUNE_PROGRESS_PORT", str(port))
    monkeypatch.setattr(fetch_module, "check_space", look)
    assert main(["prepare", *volume.arguments]) == 0
    total = read_marker(volume.base).size
    assert [answer["stage"] for answer in answers] == ["prepare", "prepare"]
    assert [answer["bytesTotal"] for answer in answers] == [total, total]
    assert answers[0]["bytesFetched"] < answers[1]["bytesFetched"] < total
