"""Whatever a config.json says: it is refused by name, or the model computes what transformers' does."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from random_base import write_tiny_base

from finetune_trainer.contract.failure import ConfigurationError, DataError
from finetune_trainer.prepare.architecture import check_architecture
from finetune_trainer.prepare.parity import compare_with_transformers

ROPE = ("rope_scaling", "rope_parameters", "rope_theta")

THETAS = st.sampled_from([10000, 1e4, 5e5, 1_000_000.0, None])
SCALES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"mscale": st.floats(0.1, 2.0), "mscale_all_dim": st.floats(0.1, 2.0)}),
    st.sampled_from([{"mscale": 1.0, "mscale_all_dim": 1.0}, {"mscale": 1.0}, {"mscale_all_dim": 0.707}]),
)
YARN = st.fixed_dictionaries(
    {
        "factor": st.one_of(st.floats(1.0, 80.0), st.sampled_from([1, 40, 0.5])),
        "original_max_position_embeddings": st.sampled_from([512, 4096, 16384]),
    },
    optional={
        "beta_fast": st.floats(2.0, 64.0),
        "beta_slow": st.floats(0.25, 4.0),
        "rope_theta": THETAS,
        "truncate": st.booleans(),
        "attention_factor": st.sampled_from([None, 1.0, 0.7]),
    },
)
KINDS = st.sampled_from(["yarn", "yarn", "yarn", "default", "linear", "dynamic", None])


@st.composite
def ropes(draw: st.DrawFn) -> dict[str, Any]:
    """The rope's fields of a config.json, in old and new spellings."""
    top = draw(st.fixed_dictionaries({}, optional={"rope_theta": THETAS}))
    place = draw(st.sampled_from([None, "rope_scaling", "rope_parameters"]))
    if place is None:
        return top | draw(st.sampled_from([{}, {"rope_scaling": None}, {"rope_parameters": None}]))
    kind = draw(KINDS)
    named = {} if kind is None else {draw(st.sampled_from(["type", "rope_type"])): kind}
    return top | {place: draw(YARN) | draw(SCALES) | named}


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "attention_bias": st.booleans(),
    "attention_dropout": st.sampled_from([0, 0.0, 0.1]),
    "first_k_dense_replace": st.sampled_from([0, 1, 2]),
    "head_dim": st.sampled_from([64, 128]),
    "hidden_act": st.sampled_from(["silu", "gelu", "relu"]),
    "initializer_range": st.floats(0.0, 1.0),
    "max_position_embeddings": st.sampled_from([4096, 163840]),
    "mlp_bias": st.booleans(),
    "moe_layer_freq": st.sampled_from([1, 2]),
    "n_group": st.sampled_from([1, 2, 4, None]),
    "n_shared_experts": st.sampled_from([1, 2]),
    "norm_topk_prob": st.booleans(),
    "num_experts_per_tok": st.sampled_from([1, 2, 3]),
    "num_key_value_heads": st.sampled_from([4, 2, 1, None]),
    "num_nextn_predict_layers": st.sampled_from([0, 1, 2]),
    "output_router_logits": st.booleans(),
    "pretraining_tp": st.sampled_from([1, 2]),
    "qk_head_dim": st.sampled_from([128, 192]),
    "rms_norm_eps": st.sampled_from([1e-6, 1e-5, 1e-3]),
    "rope_interleave": st.booleans(),
    "routed_scaling_factor": st.sampled_from([2.5, 1.0, 16]),
    "scoring_func": st.sampled_from(["sigmoid", "softmax", None]),
    "sliding_window": st.sampled_from([None, 2]),
    "tie_word_embeddings": st.booleans(),
    "topk_group": st.sampled_from([1, 2]),
    "topk_method": st.sampled_from(["noaux_tc", "greedy", None]),
    "use_cache": st.booleans(),
    "use_qk_norm": st.booleans(),
    "v_head_dim": st.sampled_from([64, 32]),
}


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """At most two fields beside the rope: more, and nearly all of them would be refused."""
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=2, unique=True))
    return draw(ropes()) | {name: draw(FIELDS[name]) for name in names}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_tiny_base(folder)
    return folder


@pytest.fixture(scope="module")
def written(base: Path) -> dict[str, Any]:
    """The config.json of the base, without its rope."""
    config: dict[str, Any] = json.loads((base / "config.json").read_text())
    return {name: value for name, value in config.items() if name not in ROPE}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(change=changes())
def test_a_config_is_refused_by_name_or_computed(
    base: Path, written: dict[str, Any], change: dict[str, Any]
) -> None:
    (base / "config.json").write_text(json.dumps(written | change))
    if (refusal := _refusal(base)) is not None:
        event("refused")
        assert any(name in refusal for name in change), refusal
        return
    event("computed")
    report = compare_with_transformers("tiny_lora", base)
    assert report is not None
    assert report.greatest_difference < 1e-4


def _refusal(base: Path) -> str | None:
    try:
        check_architecture("tiny_lora", base)
    except (ConfigurationError, DataError) as refusal:
        return refusal.message
    return None
