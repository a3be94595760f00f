"""The assets of the debug flavour, made of any base's: its widths, and one layer of each kind that it has."""

import json
from pathlib import Path
from typing import Any

import pytest
from published_configs import NAMES, published_config

from finetune_converter.debug_assets import write_debug_assets
from finetune_converter.merge.architecture import check_config


@pytest.mark.parametrize(
    ("config", "layers", "dense"),
    [
        *(pytest.param(published_config(name), 2, 1, id=name) for name in NAMES),
        pytest.param(
            published_config("deepseek-ai--DeepSeek-V3") | {"first_k_dense_replace": 0},
            1,
            0,
            id="no dense layer",
        ),
        pytest.param(
            published_config("zai-org--GLM-4.7-Flash") | {"mlp_layer_types": ["dense"] + ["sparse"] * 46},
            2,
            1,
            id="layers in a list",
        ),
    ],
)
def test_any_base_has_a_debug_form(tmp_path: Path, config: dict[str, Any], layers: int, dense: int) -> None:
    original, out = tmp_path / "original", tmp_path / "debug"
    original.mkdir()
    (original / "config.json").write_text(json.dumps(config))
    (original / "tokenizer.json").write_text("{}")
    assert "tokenizer.json" in write_debug_assets(original, "deepseek_aghilora", out)
    made = json.loads((out / "config.json").read_text())
    check_config(out, made)
    assert (made["num_hidden_layers"], made["first_k_dense_replace"]) == (layers, dense)
    assert made["num_nextn_predict_layers"] == 0
    assert "quantization_config" not in made
    changed = {"num_hidden_layers", "first_k_dense_replace", "num_nextn_predict_layers", "mlp_layer_types"}
    assert {name: made[name] for name in made if name not in changed} == {
        name: value for name, value in config.items() if name not in changed | {"quantization_config"}
    }
