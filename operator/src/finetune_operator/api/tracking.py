"""Where a run's metrics are told beside metrics.jsonl; what is away or slow stops no training."""

from typing import Annotated

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import HTTP_URL_PATTERN
from finetune_operator.api.secrets import SecretKeyRef

HttpUrl = Annotated[str, StringConstraints(pattern=HTTP_URL_PATTERN, max_length=1024)]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class TensorBoardSpec(ApiModel):
    """Event files in the volume: tensorboard/ of the run's folder."""


class WandbSpec(ApiModel):
    """Weights & Biases."""

    project: Name = "finetune"
    """The project."""

    entity: Name | None = None
    """The team or user. Default: the key's own."""

    base_url: HttpUrl | None = None
    """A server of your own. Default: W&B's."""

    offline: bool = False
    """Write into wandb/ of the run's folder alone, for `wandb sync`."""

    api_key_secret_ref: SecretKeyRef | None = None
    """The Secret key that holds the API key; on one machine it is WANDB_API_KEY."""


class MlflowSpec(ApiModel):
    """An MLflow tracking server."""

    uri: HttpUrl
    """The server, such as https://mlflow.example.com."""

    experiment: Name = "finetune"
    """The experiment, which is made if it is not there."""

    token_secret_ref: SecretKeyRef | None = None
    """The Secret key that holds the token; on one machine it is MLFLOW_TRACKING_TOKEN."""


class TrackioSpec(ApiModel):
    """trackio, which the trainer's image has to be given: it is not in ours."""

    project: Name = "finetune"
    """The project."""

    space: Name | None = None
    """The hub's Space, ORG/NAME. Default: a folder of the pod, which is gone with it."""

    token_secret_ref: SecretKeyRef | None = None
    """The Secret key that holds the hub's token; on one machine it is HF_TOKEN."""


class TrackingSpec(ApiModel):
    """Each that is there is told every step's metrics, by the first process. Default: none."""

    tensorboard: TensorBoardSpec | None = None
    """TensorBoard: {} writes event files into the volume."""

    wandb: WandbSpec | None = None
    """Weights & Biases: {} takes the project finetune."""

    mlflow: MlflowSpec | None = None
    """MLflow."""

    trackio: TrackioSpec | None = None
    """trackio."""

    @property
    def goes_out(self) -> bool:
        """Whether it reaches hosts outside the run."""
        return bool(self.mlflow or self.trackio or (self.wandb and not self.wandb.offline))
