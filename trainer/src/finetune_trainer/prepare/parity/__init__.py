"""The trainer's model against transformers' own, on the base itself, before anything is trained."""

from finetune_trainer.prepare.parity.compare import ParityReport, compare_with_transformers

__all__ = ["ParityReport", "compare_with_transformers"]
