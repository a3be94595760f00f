"""From run.json to torchtitan's configuration."""

import copy
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss
from torchtitan.components.optimizer import LRSchedulersContainer, OptimizersContainer, ParamGroupConfig
from torchtitan.config import CompileConfig, DebugConfig, TrainingConfig
from torchtitan.models.common.config_utils import decoder_vocab_size
from torchtitan.protocols.model_spec import ModelSpec

from finetune_trainer.base.hf_config import CONFIG, read_hf_config
from finetune_trainer.checkpoint.manager import LoRACheckpointManager
from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.contract.run_training import Dpo
from finetune_trainer.data.packing import sequences_of
from finetune_trainer.data.tokenizer import Vocabulary
from finetune_trainer.model.flash import flash_attention_works
from finetune_trainer.model.frozen.settings import FrozenSettings
from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.recompute import RECOMPUTE
from finetune_trainer.model.spec import lora_model_spec
from finetune_trainer.train.loss import CountedTokensLoss
from finetune_trainer.train.metrics import ProgressMetrics
from finetune_trainer.train.overrides import with_overrides
from finetune_trainer.train.parallelism import batch_sizes, check_parallelism, parallelism_config
from finetune_trainer.train.preference import PreferenceTrainer, PreferenceValidator
from finetune_trainer.train.preference_loss import PreferenceLoss
from finetune_trainer.train.preflight import Preflight
from finetune_trainer.train.samples import Sampler
from finetune_trainer.train.timeouts import comm_config
from finetune_trainer.train.trainer import LoRATrainer
from finetune_trainer.train.validation import HeldOutValidator

# "constant" decays in none of the steps; the others decay, to 0, in all steps after the warm-up.
SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"decay_ratio": 0.0},
    "linear": {"decay_type": "linear"},
    "cosine": {"decay_type": "cosine"},
}

PRECISIONS: dict[str, Literal["bfloat16", "float32"]] = {"bfloat16": "bfloat16", "float32": "float32"}

LOGITS_TOKENS = 4096

METHODS: dict[str, type[LoRATrainer.Config]] = {
    "sft": LoRATrainer.Config,
    "dpo": PreferenceTrainer.Config,
}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Data:
    """What the run trains on. sequences: packed ones in a pass; needed where the run counts epochs."""

    training: BaseDataLoader.Config
    validation: BaseDataLoader.Config | None = None
    sequences: int | None = None


def trainer_config(run: RunFile, folders: RunFolders, data: Data) -> LoRATrainer.Config:
    """The configuration that trains `run` on `data`.

    Raises ConfigurationError for everything in the run file that cannot work, naming the field.
    """
    spec = model_spec(run, folders)
    _check_length(run, folders, spec.model)
    check_parallelism(run, spec.model)
    config = _configure(run, folders, spec, data)
    return with_overrides(config, run.training.overrides)


def check_config(run: RunFile, folders: RunFolders, dataloader: BaseDataLoader.Config) -> None:
    """Check all of the configuration without a GPU, a process group or data. Raises ConfigurationError."""
    config = trainer_config(run, folders, Data(training=dataloader, sequences=1))
    try:
        copy.deepcopy(config.model_spec.model).update_from_config(config=config)
    except (ValueError, NotImplementedError) as error:
        raise ConfigurationError(f"training: {error}", remedy="Correct the field it names") from error


def lora_settings(run: RunFile) -> LoRASettings:
    lora = run.lora
    return LoRASettings(
        rank=lora.rank,
        alpha=lora.alpha,
        dropout=lora.dropout,
        use_rslora=lora.use_rslora,
        dora=lora.dora,
        rank_pattern=dict(lora.rank_pattern),
        alpha_pattern=dict(lora.alpha_pattern),
    )


def model_spec(run: RunFile, folders: RunFolders) -> ModelSpec:
    """torchtitan's specification of the model with its adapters."""
    return lora_model_spec(
        run.flavor,
        lora=lora_settings(run),
        targets=run.lora.targets,
        base_dtype=_one_of(PRECISIONS, run.training.precision, "training.precision"),
        device=run.workers.device,
        frozen=FrozenSettings(
            dtype=run.training.frozen_dtype,
            arithmetic=run.training.frozen_arithmetic,
            resident=run.training.parallelism.frozen_weights == "resident",
        ),
        attention=_attention(run),
        base=folders.base,
    )


def samples_config(run: RunFile) -> Sampler.Config:
    """What is generated as training goes on; nothing where the job asks for none."""
    asked = run.training.samples
    if asked is None:
        return Sampler.Config()
    return Sampler.Config(
        prompts=asked.prompts,
        chat=any(source.format != "text" for source in run.dataset.sources),
        max_tokens=asked.max_tokens,
        max_seconds=asked.max_seconds,
        freq=run.training.validation_interval,
    )


def total_steps(run: RunFile, sequences: int | None) -> int:
    """Optimizer steps of the run; what the data fills of the last one only in part is trained as well."""
    training = run.training
    if training.steps is not None:
        return training.steps
    if training.epochs is None or sequences is None:
        raise ConfigurationError("training: neither steps nor epochs is set", remedy="Set one of them")
    return math.ceil(sequences_of(training.epochs, sequences) / batch_sizes(run)["global_batch_size"])


def _attention(run: RunFile) -> str:
    if run.workers.device == "cpu":
        return "dense"
    takes_it = run.training.precision == "bfloat16" and run.training.parallelism.context == 1
    return "flash" if takes_it and flash_attention_works() else "flex"


def _check_length(run: RunFile, folders: RunFolders, model: FrozenBaseModel.Config) -> None:
    length = run.training.sequence_length
    config = read_hf_config(folders.base) if (folders.base / CONFIG).exists() else {}
    told = config.get("max_position_embeddings")
    longest = told if isinstance(told, int) else model.longest_sequence
    if length > longest:
        raise ConfigurationError(
            f"training.sequenceLength: {length:,} is more than the {longest:,} positions that the base knows",
            remedy=f"Use at most {longest}; longer documents are cut, which the data report says",
        )


def _configure(run: RunFile, folders: RunFolders, spec: ModelSpec, data: Data) -> LoRATrainer.Config:
    on_cpu = run.workers.device == "cpu"
    recompute = run.training.recompute or ("none" if on_cpu else "selective")
    return METHODS[run.training.method](
        preflight=Preflight(
            nodes=run.workers.nodes,
            processes_per_node=run.workers.processes_per_node,
            device=run.workers.device,
            float8_products=run.training.frozen_arithmetic != "precision",
            rdma=os.environ.get("FINETUNE_RDMA", ""),
        ),
        model_spec=spec,
        hf_assets_path=str(folders.base),
        tokenizer=Vocabulary.Config(),
        dump_folder=str(folders.run),
        loss=_loss(run, CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(spec))),
        metrics=ProgressMetrics.Config(log_freq=1, disable_color_printing=True),
        dataloader=data.training,
        validator=_validator(run, data),
        samples=samples_config(run),
        warm_start=str(folders.root / run.lora.from_.path) if run.lora.from_ else None,
        optimizer=_optimizer(run),
        lr_scheduler=LRSchedulersContainer.Config(
            warmup_steps=run.training.warmup_steps,
            **_one_of(SCHEDULES, run.training.schedule, "training.schedule"),
        ),
        training=_training(run, total_steps(run, data.sequences)),
        parallelism=parallelism_config(run),
        checkpoint=LoRACheckpointManager.Config(
            enable=True,
            interval=run.training.checkpoint.interval,
            keep=run.training.checkpoint.keep,
            adapters=run.training.checkpoint.adapters,
            select=run.training.select,
            validation_interval=run.training.validation_interval if data.validation else None,
            patience=run.training.validation.patience,
            initial_load_path=str(folders.base),
        ),
        activation_checkpoint=RECOMPUTE[recompute],
        compile=CompileConfig(enable=not on_cpu),
        comm=comm_config(run, spec.model),
        debug=DebugConfig(seed=run.training.seed, enable_structured_logging=False),
    )


def _loss(run: RunFile, of_logits: CrossEntropyLoss.Config) -> ChunkedLossWrapper.Config:
    """Ranks that share tokens, or the head, compute all logits: they have to agree on what they are."""
    if run.training.method == "dpo":
        asked_of = run.training.dpo or Dpo()
        return PreferenceLoss.Config(piece=LOGITS_TOKENS, beta=asked_of.beta, loss_type=asked_of.loss_type)
    asked = run.training.parallelism
    if asked.tensor > 1 or asked.context > 1:
        return ChunkedLossWrapper.Config(num_chunks=_loss_chunks(run), loss_fn=of_logits)
    return CountedTokensLoss.Config(piece=LOGITS_TOKENS, loss_fn=of_logits)


def _loss_chunks(run: RunFile) -> int:
    """Into how many pieces of a sequence the logits are cut, so that they are never there as a whole.

    A piece holds 4096 tokens if that can be: its logits, of 128k words, are then 1 GiB.
    """
    length = run.training.sequence_length // run.training.parallelism.context
    wanted = max(1, run.training.micro_batch_size * length // LOGITS_TOKENS)
    return next(pieces for pieces in range(wanted, length + 1) if length % pieces == 0)


def _training(run: RunFile, steps: int) -> TrainingConfig:
    return TrainingConfig(
        **batch_sizes(run),
        seq_len=run.training.sequence_length,
        steps=steps,
        max_norm=run.training.max_grad_norm,
        dtype="float32",  # of the adapters and the optimizer; the base has its own (model/frozen_base.py)
        mixed_precision_param=run.training.precision,
        disable_cuda_graphs=True,
    )


def _validator(run: RunFile, data: Data) -> HeldOutValidator.Config:
    if data.validation is None:
        return HeldOutValidator.Config()
    kind = PreferenceValidator if run.training.method == "dpo" else HeldOutValidator
    return kind.Config(
        enable=True, freq=run.training.validation_interval, steps=-1, dataloader=data.validation
    )


def _optimizer(run: RunFile) -> OptimizersContainer.Config:
    adamw = {
        "lr": run.training.learning_rate,
        "weight_decay": run.training.weight_decay,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
    }
    return OptimizersContainer.Config(
        param_groups=[ParamGroupConfig(pattern=".*", optimizer_name="AdamW", optimizer_kwargs=adamw)],
        implementation="foreach" if run.workers.device == "cpu" else "fused",
    )


def _one_of(choices: Mapping[str, T], choice: str, field: str) -> T:
    if choice not in choices:
        raise ConfigurationError(f"{field}: {choice} is unknown", remedy=f"Use one of {', '.join(choices)}")
    return choices[choice]
