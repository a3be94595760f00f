"""How far a stage is: GET /progress, GET /metrics and the run's metrics.jsonl (contract/README.md)."""

from finetune_trainer.contract.progress.fetching import FetchProgress
from finetune_trainer.contract.progress.loading import LoadProgress
from finetune_trainer.contract.progress.server import serve_progress
from finetune_trainer.contract.progress.snapshot import Progress
from finetune_trainer.contract.progress.training import TrainingProgress

__all__ = ["FetchProgress", "LoadProgress", "Progress", "TrainingProgress", "serve_progress"]
