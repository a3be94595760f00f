import json
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.base.hf_config import check_hf_config
from finetune_trainer.contract.failure import DataError
from finetune_trainer.model.flavors import build_model_config

DEEPSEEK_V3: dict[str, Any] = {
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "first_k_dense_replace": 3,
    "rms_norm_eps": 1e-06,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "scoring_func": "sigmoid",
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "rope_theta": 10000,
    "rope_scaling": {
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 40,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
        "type": "yarn",
    },
}


def _write(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_published_config_fits(tmp_path: Path) -> None:
    check_hf_config(build_model_config("671B_lora", device="cpu"), _write(tmp_path, DEEPSEEK_V3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"topk_group": 2}, "topk_group is 2, the flavor needs 4", id="routing"),
        pytest.param({"rms_norm_eps": 1e-5}, "rms_norm_eps is 1e-05", id="epsilon"),
        pytest.param({"rope_scaling": {"factor": 10}}, "rope.factor is 10, .* 40.0", id="yarn"),
        pytest.param({"rope_parameters": {"rope_theta": 5e5}}, "rope_theta is 500000.0", id="transformers 5"),
    ],
)
def test_other_model_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_hf_config(build_model_config("671B_lora", device="cpu"), _write(tmp_path, DEEPSEEK_V3 | change))


def test_config_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config.json cannot be read"):
        check_hf_config(build_model_config("tiny_lora", device="cpu"), tmp_path)
