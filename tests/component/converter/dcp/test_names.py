"""Names of torchtitan's tensors, of its versions and of models that are wrapped."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_deepseek import load_model
from titan_checkpoints import EXPERTS, LAYERS, Tensors, compiled, of_0_2, save, titan
from torchtitan.models.deepseek_v3 import model_registry
from torchtitan.models.deepseek_v3.state_dict_adapter import DeepSeekV3StateDictAdapter

from finetune_converter.dcp.export import export_dcp
from finetune_converter.dcp.names import hf_names

# One process, no process group: torch warns, and that is meant here.
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def test_names_are_torchtitans_own() -> None:
    table = DeepSeekV3StateDictAdapter(model_registry("671B").model, None).from_hf_map
    for hf, name in table.items():
        expected = hf.replace("{}", "7", 1).format(3)
        assert [*hf_names(name.format(7), EXPERTS, LAYERS)][3 if "{}" in hf.replace("{}", "", 1) else 0][
            0
        ] == expected


@pytest.mark.parametrize(
    ("rename", "says"),
    [
        pytest.param(of_0_2, "torchtitan 0.2's names", id="0.2"),
        pytest.param(compiled, "torchtitan 0.3's names, of a compiled or wrapped model", id="compiled"),
        pytest.param(lambda state: compiled(of_0_2(state)), "torchtitan 0.2's names, of a", id="both"),
    ],
)
def test_names_of_other_layouts(
    base: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    rename: Callable[[Tensors], Tensors],
    says: str,
) -> None:
    caplog.set_level("INFO")
    before = load_model(base)
    trained = {name: tensor + 0.25 for name, tensor in before.items()}
    step = save(rename(titan(trained)), tmp_path / "step-3")
    assert export_dcp(checkpoint=step, base=base, out=tmp_path / "model", alpha=None) == "model"
    after = load_model(tmp_path / "model")
    assert all(torch.equal(after[name], trained[name].to(before[name].dtype)) for name in before)
    assert says in caplog.text
