"""Who is told a run's metrics beside metrics.jsonl: TensorBoard, Weights & Biases, MLflow, trackio."""

from finetune_trainer.tracking.trackers import check_trackers, open_trackers

__all__ = ["check_trackers", "open_trackers"]
