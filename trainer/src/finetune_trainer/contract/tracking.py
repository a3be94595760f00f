"""Who is told a run's metrics, as run.json has it; the keys are in the environment."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TensorBoard:
    """Event files in the run's folder."""


@dataclass(frozen=True, kw_only=True)
class Wandb:
    project: str
    entity: str | None
    base_url: str | None
    offline: bool


@dataclass(frozen=True, kw_only=True)
class Mlflow:
    uri: str
    experiment: str


@dataclass(frozen=True, kw_only=True)
class Trackio:
    project: str
    space: str | None


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Who is told the metrics, beside metrics.jsonl."""

    tensorboard: TensorBoard | None = None
    wandb: Wandb | None = None
    mlflow: Mlflow | None = None
    trackio: Trackio | None = None
