from typing import Any

import pytest
from torchtitan.config import ParallelismConfig
from torchtitan.trainer import Trainer

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.train.overrides import field_paths, with_overrides

pytestmark = pytest.mark.usefixtures("plain_tensors")


@pytest.mark.parametrize(
    ("path", "value", "stored"),
    [
        pytest.param("compile.enable", True, True, id="bool"),
        pytest.param("training.gc_freq", 10, 10, id="int"),
        pytest.param("lr_scheduler.min_lr_factor", 0, 0.0, id="int for a float"),
        pytest.param("parallelism.fsdp_reshard_after_forward", "never", "never", id="choice"),
        pytest.param("compile.components", ["loss"], ["loss"], id="list"),
        pytest.param("lr_scheduler.total_steps", None, None, id="None"),
        pytest.param("training.max_norm", 2, 2, id="union"),
    ],
)
def test_override_is_set(path: str, value: Any, stored: Any) -> None:
    config = with_overrides(Trainer.Config(), {path: value})
    section, field = path.split(".")
    assert getattr(getattr(config, section), field) == stored


def test_original_is_not_changed() -> None:
    config = Trainer.Config()
    with_overrides(config, {"compile.enable": True})
    assert config.compile.enable is False


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        pytest.param("compile.enabled", True, r"compile.enabled is no field.*compile.enable$", id="typo"),
        pytest.param("parallelism", {}, "parallelism is no field", id="section"),
        pytest.param("model_spec.flavor", "x", "model_spec.flavor is no field", id="model"),
        pytest.param("compile.enable.x", True, "compile.enable.x is no field", id="too deep"),
        pytest.param("compile.enable", 1, "compile.enable: 1 is not bool", id="int for a bool"),
        pytest.param("training.gc_freq", 1.5, "training.gc_freq: 1.5 is not int", id="float for an int"),
        pytest.param("training.gc_freq", True, "training.gc_freq: True is not int", id="bool for an int"),
        pytest.param("training.dtype", "fp8", "'fp8' is not one of 'bfloat16', 'float32'", id="no choice"),
        pytest.param("compile.components", [1], "compile.components", id="list of another type"),
        pytest.param(
            "parallelism.context_parallel_load_balancer",
            "",
            "cannot be an empty string",
            id="torchtitan refuses",
        ),
    ],
)
def test_wrong_override_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as failure:
        with_overrides(Trainer.Config(), {path: value})
    assert str(failure.value).startswith("training.overrides: ")
    assert failure.match(message.replace("$", r"\.?$"))


def test_paths_cover_nested_sections() -> None:
    paths = set(field_paths(ParallelismConfig(), "parallelism."))
    assert "parallelism.expert_parallel_degree" in paths
