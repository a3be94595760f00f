import dataclasses
from pathlib import Path
from typing import Any

import pytest
from torchtitan.components.dataloader import BaseDataLoader

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.contract.run_file import RunFile, RunFolders, load_run
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.parallelize import parallelize
from finetune_trainer.model.recompute import KeepAttention, KeepRouting
from finetune_trainer.train.config import Data, check_config, total_steps, trainer_config
from finetune_trainer.train.parallelism import check_parallelism

pytestmark = pytest.mark.usefixtures("plain_tensors")

GOLDEN = Path(__file__).parents[3] / "golden/run"
DATA = BaseDataLoader.Config()


@pytest.fixture
def quickstart() -> RunFile:
    return load_run(GOLDEN / "quickstart.json")


def _having(run: RunFile, section: str, **values: Any) -> RunFile:
    """`run` with fields of the section at a dotted path replaced."""
    names = section.split(".")
    parts = [run]
    for name in names:
        parts.append(getattr(parts[-1], name))
    changed = dataclasses.replace(parts.pop(), **values)
    for name, part in zip(reversed(names), reversed(parts), strict=True):
        changed = dataclasses.replace(part, **{name: changed})
    return changed


def _folders(run: RunFile) -> RunFolders:
    return RunFolders(root=Path("/volume"), paths=run.paths)


@pytest.mark.parametrize("name", [file.stem for file in sorted(GOLDEN.glob("*.json"))])
def test_golden_runs_can_be_configured(name: str) -> None:
    run = load_run(GOLDEN / f"{name}.json")
    check_config(run, _folders(run), DATA)


def test_run_file_becomes_torchtitan_s_configuration(quickstart: RunFile) -> None:
    config = trainer_config(quickstart, _folders(quickstart), Data(training=DATA))
    assert (config.training.steps, config.training.seq_len) == (200, 256)
    assert (config.training.local_batch_size, config.training.global_batch_size) == (4, 8)
    assert config.parallelism.data_parallel_shard_degree == 2
    assert config.lr_scheduler.decay_type == "cosine"
    assert config.optimizer.param_groups[0].optimizer_kwargs["lr"] == 0.002
    assert config.checkpoint.initial_load_path == "/volume/models/tiny-base"
    assert config.dump_folder == "/volume/runs/default/faq/3f2a9c1b"
    assert config.debug.seed == 7


@pytest.mark.parametrize("length", [16_384, 16_385, 32_768, 163_840])
def test_every_length_that_the_base_knows_can_be_configured(quickstart: RunFile, length: int) -> None:
    run = _having(quickstart, "training", sequence_length=length)
    check_config(run, _folders(run), DATA)
    config = trainer_config(run, _folders(run), Data(training=DATA))
    config.model_spec.model.update_from_config(config=config)
    assert {layer.attention.rope.max_seq_len for layer in config.model_spec.model.layers} == {length}


@pytest.mark.parametrize(
    ("recompute", "device", "expected"),
    [
        pytest.param(None, "cpu", None, id="a CPU keeps all"),
        pytest.param(None, "cuda", KeepAttention.Config(), id="a GPU selects"),
        pytest.param("none", "cuda", None, id="none"),
        pytest.param("full", "cuda", KeepRouting.Config(), id="full"),
    ],
)
def test_recompute_becomes_a_policy(
    quickstart: RunFile, recompute: str | None, device: str, expected: Any
) -> None:
    run = _having(_having(quickstart, "training", recompute=recompute), "workers", device=device)
    config = trainer_config(run, _folders(run), Data(training=DATA))
    assert config.activation_checkpoint == expected


def test_671b_takes_its_overrides_and_frozen_bfloat16() -> None:
    run = load_run(GOLDEN / "671b.json")
    config = trainer_config(run, _folders(run), Data(training=DATA, sequences=6400))
    assert config.compile.enable
    assert config.model_spec.model.base_dtype == "bfloat16"
    assert config.training.dtype == "float32"
    assert config.training.steps == 200


@pytest.mark.parametrize(
    ("epochs", "sequences", "steps"),
    [
        pytest.param(2.0, 80, 20, id="whole steps"),
        pytest.param(1.0, 23, 3, id="the rest is a step too"),
        pytest.param(0.5, 80, 5, id="half an epoch"),
        pytest.param(0.01, 3, 1, id="at least one step"),
    ],
)
def test_epochs_become_steps(quickstart: RunFile, epochs: float, sequences: int, steps: int) -> None:
    run = _having(quickstart, "training", steps=None, epochs=epochs)
    assert total_steps(run, sequences) == steps


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        pytest.param("training.parallelism", {"tensor": 3}, "tensor: .* 3 does not", id="processes"),
        pytest.param("training.parallelism", {"data": 4}, "parallelism.data: is 4, but 2", id="data"),
        pytest.param("training.parallelism", {"expert": 4}, "parallelism.expert: 4 does not", id="expert"),
        pytest.param("training.parallelism", {"replicate": 3}, "replicate: .* 3 does not", id="copies"),
        pytest.param(
            "training.parallelism",
            {"replicate": 2, "expert": 2},
            "parallelism.expert: 2 does not",
            id="expert over copies",
        ),
        pytest.param("training.parallelism", {"context": 2}, "parallelism.context: needs flex", id="cpu"),
        pytest.param("training", {"global_batch_size": 12}, "globalBatchSize: 12 is no multiple", id="batch"),
        pytest.param("training", {"sequence_length": 163_841}, "163,841 .* 163,840", id="sequence length"),
        pytest.param("training", {"schedule": "step"}, "training.schedule: step is unknown", id="schedule"),
        pytest.param("training", {"precision": "int4"}, "training.precision: int4", id="precision"),
        pytest.param("lora", {"targets": ("qproj",)}, "lora.targets: qproj matches no module", id="target"),
        pytest.param("training", {"overrides": {"a.b": 1}}, "training.overrides: a.b is no", id="override"),
    ],
)
def test_what_cannot_work_is_named(
    quickstart: RunFile, section: str, values: dict[str, Any], message: str
) -> None:
    run = _having(quickstart, section, **values)
    with pytest.raises(ConfigurationError, match=message):
        check_config(run, _folders(run), DATA)


def test_float8_with_tensor_parallelism_needs_parts_of_one_size(quickstart: RunFile) -> None:
    run = _having(_having(quickstart, "training", frozen_dtype="float8"), "training.parallelism", tensor=2)
    model = build_model_config("tiny_lora", device="cpu")
    check_parallelism(run, model)
    model.layers[0].feed_forward.w1.out_features = 511
    with pytest.raises(ConfigurationError, match=r"parallelism.tensor: 2 does not divide .* 511 in FP8"):
        check_parallelism(run, model)


def test_a_stage_without_adapters_is_named() -> None:
    config = build_model_config("tiny_lora", device="cpu")
    model = (
        LoRAConverter.Config(lora=LoRASettings(rank=8, alpha=8.0), targets=("experts",), base_dtype="float32")
        .build()
        .convert(config)
        .build()
    )
    for layer in ("1", "2", "3"):
        del model.layers[layer]
    with pytest.raises(ConfigurationError, match=r"parallelism.pipeline: .* the stage of layers \[0\]"):
        parallelize(model, parallel_dims=None)
