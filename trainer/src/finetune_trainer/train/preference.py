"""Training from preference pairs: a micro-batch goes through the reference first, then through the model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spmd_types as spmd
import torch
from torch import nn

from finetune_trainer.train.preference_loss import PreferenceLoss
from finetune_trainer.train.reference import Reference
from finetune_trainer.train.trainer import LoRATrainer
from finetune_trainer.train.validation import HeldOutValidator

Tensors = dict[str, torch.Tensor]


class PreferenceTrainer(LoRATrainer):
    """`LoRATrainer` with `PreferenceLoss`; what torchtitan counts as tokens with a label are pairs.

    Every process has whole sequences and the whole head (train/parallelism.py).
    """

    @dataclass(kw_only=True, slots=True)
    class Config(LoRATrainer.Config):
        pass

    loss_fn: PreferenceLoss

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.reference = Reference(self.loss_fn)
        self.metrics_processor.take_rewards = self.loss_fn.meter.take
        if config.validator.enable:
            self.validator.reference = self.reference

    def restore(self) -> None:
        """Before a checkpoint is loaded the adapters are what training starts from, in every attempt."""
        if not self.restored and self.config.warm_start:
            self.start_from(Path(self.config.warm_start))
            self.reference.keep_adapters(self.model_parts)
        super().restore()

    def forward_backward_step(self, **batch: Any) -> torch.Tensor:
        """The pairs' loss of a micro-batch, over all pairs of the step."""
        rest: Tensors = dict(batch["input_dict"])
        targets = rest.pop("targets")
        inputs, labels, model_inputs = self.post_dataloading_process(rest, batch["labels"])
        with self.train_context():
            reference = self.reference.log_probabilities(self.model_parts, inputs, targets, model_inputs)
            loss, _ = self.loss_fn(
                self.model_parts[0](inputs, **model_inputs),
                labels,
                batch["global_valid_tokens"],
                targets=targets,
                positions=model_inputs["positions"],
                reference=reference,
            )
            with spmd.no_typecheck():
                loss.backward()  # type: ignore[no-untyped-call]
        self.finite.note_loss(loss)
        return loss


class PreferenceValidator(HeldOutValidator):
    """The pairs' loss, and the rewards."""

    @dataclass(kw_only=True, slots=True)
    class Config(HeldOutValidator.Config):
        pass

    reference: Reference

    def __init__(self, config: Config, *, loss_fn: PreferenceLoss, **options: Any) -> None:
        self._of_batch: Callable[..., tuple[torch.Tensor, Any]] = loss_fn
        super().__init__(config, loss_fn=self._loss_of_batch, **options)
        self._pairs: Tensors = {}

    def post_dataloading_process(
        self, input_dict: Tensors, labels: torch.Tensor, model_parts: list[nn.Module]
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        targets = input_dict.pop("targets")
        inputs, labels, model_inputs = super().post_dataloading_process(input_dict, labels, model_parts)
        with self.validation_context():
            reference = self.reference.log_probabilities(model_parts, inputs, targets, model_inputs)
        positions = model_inputs["positions"]
        self._pairs = {"targets": targets, "positions": positions, "reference": reference}
        return inputs, labels, model_inputs

    def _loss_of_batch(self, pred: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return self._of_batch(pred, labels, **self._pairs)
