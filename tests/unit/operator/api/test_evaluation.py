"""Tasks and thresholds: what is refused by its field, before anything runs."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob

Build = Callable[..., dict[str, Any]]

FAQ = {"name": "faq", "uri": "evaluations/faq.jsonl", "metric": "exact_match"}
CHATS = {"name": "chats", "uri": "evaluations/chats.jsonl", "metric": "perplexity"}
MMLU = {"name": "mmlu", "uri": "hf://cais/mmlu", "metric": "lm_eval", "lmEval": {"task": "mmlu"}}
FIELD = "spec.evaluation"


def asked(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"evaluation": {"tasks": list(tasks), **more}}


def required(faq: str) -> dict[str, Any]:
    return asked(FAQ, CHATS, require={"faq": faq})


def perplexity(chats: str) -> dict[str, Any]:
    return asked(FAQ, CHATS, require={"chats": chats})


OF_FAQ, OF_REQUIRE = [f"{FIELD}.require.faq"], [f"{FIELD}.require"]


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        pytest.param(asked(FAQ), [], id="figures alone"),
        *(
            pytest.param(required(text), [], id=text)
            for text in (
                ">= 0.9", ">=1", ">= 1.0", "no worse than base", "no worse than base by 0.01",
                "better than base", "better than base by 0.1",
            )
        ),
        *(
            pytest.param(perplexity(text), [], id=text)
            for text in ("<= 12.5", "<= 3", "no worse than base by 1.5")
        ),
        *(
            pytest.param(required(text), OF_FAQ, id=text)
            for text in (
                "0.9", "> 0.9", "90%", ">= 90%", ">= -1", ">= nan", "better", "no worse than base by", "",
            )
        ),
        *(
            pytest.param(required(text), OF_REQUIRE, id=text)
            for text in (">= 1.1", ">= 90", "<= 0.5", "no worse than base by 2")
        ),
        pytest.param(perplexity(">= 12"), OF_REQUIRE, id="a perplexity to be high"),
        pytest.param(asked(FAQ, require={"mmlu": ">= 0.5"}), OF_REQUIRE, id="of no task"),
        pytest.param(asked(), [f"{FIELD}.tasks"], id="no task"),
        pytest.param(asked(FAQ, FAQ), [f"{FIELD}.tasks"], id="a task twice"),
        pytest.param(asked({**FAQ, "metric": "bleu"}), [f"{FIELD}.tasks[0].metric"], id="an unknown metric"),
        pytest.param(asked({**FAQ, "name": "My task"}), [f"{FIELD}.tasks[0].name"], id="a name with spaces"),
        pytest.param(asked({**FAQ, "uri": "oci://a/b:c"}), [f"{FIELD}.tasks[0].uri"], id="in a registry"),
        pytest.param(asked({**FAQ, "format": "text"}), [f"{FIELD}.tasks[0].format"], id="text is not asked"),
        pytest.param(asked({**FAQ, "revision": "x"}), [f"{FIELD}.tasks[0].revision"], id="a file's revision"),
        pytest.param(asked({**FAQ, "limit": 0}), [f"{FIELD}.tasks[0].limit"], id="no rows"),
        pytest.param(asked(MMLU, require={"mmlu": "no worse than base by 0.01"}), [], id="lm-eval's"),
        pytest.param(asked(MMLU, require={"mmlu": "<= 12"}), [], id="a perplexity of lm-eval's"),
        pytest.param(asked({**MMLU, "metric": "regex"}), [f"{FIELD}.tasks[0].lmEval"], id="another metric"),
        pytest.param(
            asked({**FAQ, "metric": "lm_eval"}), [f"{FIELD}.tasks[0].lmEval"], id="no task of lm-eval's"
        ),
        pytest.param(
            asked({**MMLU, "lmEval": {"task": "mmlu --trust"}}),
            [f"{FIELD}.tasks[0].lmEval.task"],
            id="a task's name with spaces",
        ),
        pytest.param(asked(FAQ, gpus=8), [f"{FIELD}.gpus"], id="GPUs where there are none"),
        pytest.param(
            asked(FAQ) | {"export": {"adapterOnly": True}}, [FIELD], id="nothing merged"
        ),
    ],
)  # fmt: skip
def test_blames_the_field(job: Build, spec: dict[str, Any], fields: list[str]) -> None:
    errors = field_errors(FineTuneJob, job(workers={"device": "cpu"}, **spec))
    assert [str(error).split(":")[0] for error in errors] == fields
