"""Who is told a run's metrics, as run.json has it: without any key."""

from finetune_operator.api.base import ApiModel


class RunTensorboard(ApiModel):
    """Event files in the run's folder."""


class RunWandb(ApiModel):
    """Weights & Biases; the key is in WANDB_API_KEY."""

    project: str
    """The project."""

    entity: str | None = None
    """null: the key's own."""

    base_url: str | None = None
    """null: W&B's own server."""

    offline: bool
    """Whether it only writes into the run's folder."""


class RunMlflow(ApiModel):
    """An MLflow server; the token is in MLFLOW_TRACKING_TOKEN."""

    uri: str
    """The server."""

    experiment: str
    """The experiment's name."""


class RunTrackio(ApiModel):
    """trackio; the token is in HF_TOKEN."""

    project: str
    """The project."""

    space: str | None = None
    """null: a folder of the pod."""


class RunTracking(ApiModel):
    """Who is told the metrics, beside metrics.jsonl."""

    tensorboard: RunTensorboard | None = None
    """null: not asked for."""

    wandb: RunWandb | None = None
    """null: not asked for."""

    mlflow: RunMlflow | None = None
    """null: not asked for."""

    trackio: RunTrackio | None = None
    """null: not asked for."""
