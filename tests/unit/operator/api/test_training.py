"""Validation, samples and starting from an adapter: what goes together, and what is refused by its field."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob

Build = Callable[..., dict[str, Any]]

HELD_OUT = {"dataset": {"uri": "datasets/faq.jsonl", "validationShare": 0.1}}
SAMPLES = {"prompts": ["Hi"]}
PAIRS = {"dataset": {"uri": "datasets/pairs.jsonl", "format": "preference"}}


def steps(**training: Any) -> dict[str, Any]:
    return {"training": {"steps": 10, **training}}


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        pytest.param(
            HELD_OUT | steps(select="best", validation={"interval": 5, "patience": 2}), [], id="all"
        ),
        pytest.param(steps(samples=SAMPLES, validation={"interval": 5}), [], id="interval-of-samples-alone"),
        pytest.param(steps(select="best"), ["spec.training.select"], id="best-of-nothing-held-out"),
        pytest.param(
            steps(validation={"patience": 3}), ["spec.training.validation"], id="patience-for-nothing"
        ),
        pytest.param(
            steps(validation={"interval": 5}), ["spec.training.validation"], id="interval-of-nothing"
        ),
        pytest.param(
            steps(validation={"interval": 5, "patience": 3}, samples=SAMPLES),
            ["spec.training.validation"],
            id="patience-with-samples-alone",
        ),
        pytest.param(
            HELD_OUT | steps(validation={"patience": 0}),
            ["spec.training.validation.patience"],
            id="no-patience-at-all",
        ),
        pytest.param(
            {"workers": {"gpusPerNode": 2}, **steps(samples=SAMPLES, parallelism={"tensor": 2})},
            ["spec.training.samples"],
            id="samples-of-half-a-model",
        ),
        pytest.param(
            {"workers": {"gpusPerNode": 2}, **steps(samples=SAMPLES, parallelism={"expert": 2})},
            [],
            id="samples-with-experts-apart",
        ),
        pytest.param(
            steps(samples={"prompts": []}), ["spec.training.samples.prompts"], id="samples-of-no-prompt"
        ),
        pytest.param(
            steps(samples={"prompts": ["Hi", ""]}),
            ["spec.training.samples.prompts[1]"],
            id="samples-of-an-empty-prompt",
        ),
        pytest.param(
            {"lora": {"targets": ["attention", "mlp"], "rankPattern": {"q_b_proj": 32}}}, [], id="a-rank"
        ),
        pytest.param(
            {"lora": {"targets": ["served_attention"], "alphaPattern": {"kv_b_proj": 8}}},
            ["spec.lora.alphaPattern"],
            id="an-alpha-of-no-target",
        ),
        pytest.param(
            {"lora": {"targets": ["attention", "mlp"], "rankPattern": {"up_proj": 8}}},
            ["spec.lora.rankPattern.up_proj"],
            id="a-rank-of-an-mlp",
        ),
        pytest.param(
            {"lora": {"rankPattern": {"o_proj": 0}}}, ["spec.lora.rankPattern.o_proj"], id="no-rank"
        ),
        pytest.param({"lora": {"dora": True, "targets": ["attention", "o_proj"]}}, [], id="dora"),
        pytest.param(
            {"lora": {"dora": True, "targets": ["attention", "experts"]}},
            ["spec.lora.dora"],
            id="dora-of-experts",
        ),
        pytest.param(
            {"lora": {"dora": True, "from": {"uri": "adapters/first"}}},
            ["spec.lora.dora"],
            id="dora-from-an-adapter",
        ),
        pytest.param(
            {"lora": {"dora": True}, "workers": {"gpusPerNode": 2}, **steps(parallelism={"tensor": 2})},
            ["spec.lora.dora"],
            id="dora-of-parts-of-rows",
        ),
        pytest.param(PAIRS | steps(method="dpo", dpo={"beta": 0.2, "lossType": "ipo"}), [], id="pairs"),
        pytest.param(steps(method="dpo"), [], id="pairs-by-their-keys"),
        pytest.param(
            {"workers": {"gpusPerNode": 2}, **PAIRS, **steps(method="dpo", parallelism={"expert": 2})},
            [],
            id="pairs-with-experts-apart",
        ),
        pytest.param(steps(dpo={"beta": 0.2}), ["spec.training.dpo"], id="dpo-of-sft"),
        pytest.param(PAIRS | steps(), ["spec.training.method"], id="pairs-to-imitate"),
        pytest.param(
            {"dataset": {"uri": "d", "format": "chat"}} | steps(method="dpo"),
            ["spec.training.method"],
            id="chats-to-prefer",
        ),
        pytest.param(
            {"dataset": {"sources": [{"uri": "a"}, {"uri": "b", "format": "text"}]}} | steps(method="dpo"),
            ["spec.training.method"],
            id="a-source-of-texts-to-prefer",
        ),
        pytest.param(
            {"dataset": {"uri": "d", "train": "last"}} | steps(method="dpo"),
            ["spec.training.method"],
            id="a-part-of-a-pair",
        ),
        *(
            pytest.param(
                {"workers": {"gpusPerNode": 2}, **steps(method="dpo", parallelism={degree: 2})},
                ["spec.training.method"],
                id=f"pairs-with-{degree}-parallelism",
            )
            for degree in ("tensor", "pipeline", "context")
        ),
        pytest.param(
            {"lora": {"from": {"uri": "runs/default/a/1234abcd/adapter"}}}, [], id="adapter-of-a-job"
        ),
        pytest.param(
            {"lora": {"from": {"uri": "hf://acme/first", "revision": "v1"}}}, [], id="adapter-of-the-hub"
        ),
        pytest.param(
            {"lora": {"from": {"uri": "adapters/first", "revision": "v1"}}},
            ["spec.lora.from.revision"],
            id="revision-of-a-folder",
        ),
        pytest.param(
            {"lora": {"from": {"uri": "oci://acme.com/first:1"}}},
            ["spec.lora.from.uri"],
            id="adapter-in-a-registry",
        ),
        pytest.param({"lora": {"from_": {"uri": "a"}}}, ["spec.lora.from_"], id="a-name-of-python"),
    ],
)
def test_blames_the_field(job: Build, spec: dict[str, Any], fields: list[str]) -> None:
    errors = field_errors(FineTuneJob, job(**spec))
    assert [str(error).split(":")[0] for error in errors] == fields
