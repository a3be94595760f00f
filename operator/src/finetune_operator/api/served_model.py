"""What a server serves: a model, and adapters beside it."""

from typing import Annotated, ClassVar, Literal

from pydantic import StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import LABEL_PATTERN
from finetune_operator.api.job_ref import ONE_SOURCE, FineTuneJobRef
from finetune_operator.api.rules import Rule
from finetune_operator.api.secrets import ConfigMapKeyRef
from finetune_operator.api.uri import NEITHER_A_FOLDER_NOR_AN_IMAGE, NOT_SERVED_YET, Uri


class VerifySignatureSpec(ApiModel):
    """By which key a model has to be signed."""

    public_key_config_map_ref: ConfigMapKeyRef
    """The ConfigMap key that holds the public key in PEM."""


class ServedModelSpec(ApiModel):
    """Which model is served: a job's, a folder in the volume, or an image."""

    fine_tune_job_ref: FineTuneJobRef | None = None
    """The job whose merged model is served; the deployment waits until it is complete."""

    uri: Uri | None = None
    """A folder in Hugging Face format, relative to the volume's root; or oci://HOST/REPOSITORY:TAG, an image
    of its files, as a job pushes it (export.push), which each node pulls and mounts. Images are for
    Kubernetes 1.36 or newer, with containerd 2.1 or newer."""

    verify_signature: VerifySignatureSpec | None = None
    """Serve only a folder that this key has signed (export.signing, finetune-convert sign), and whose files
    are the ones that were signed. Each server checks it before it starts, and reads them once more for that.
    Default: not checked."""

    rules: ClassVar[tuple[Rule, ...]] = (ONE_SOURCE, NEITHER_A_FOLDER_NOR_AN_IMAGE)


class AdapterSpec(ApiModel):
    """A LoRA adapter that vLLM serves beside the model, under a name of its own: a job's, or a folder."""

    name: Annotated[str, StringConstraints(pattern=LABEL_PATTERN, max_length=63)]
    """The name by which requests ask for it."""

    fine_tune_job_ref: FineTuneJobRef | None = None
    """The job whose adapter is served, and whose volume is the model's; the deployment waits until it is
    trained."""

    uri: Uri | None = None
    """A folder in PEFT format, relative to the volume's root."""

    checkpoint: Literal["latest"] | None = None
    """latest: until the job is trained, the adapter of its newest checkpoint, each in its turn. The job has
    training.checkpoint.adapters. Default: the deployment waits for the trained one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        ONE_SOURCE,
        NOT_SERVED_YET,
        Rule(
            rule="!has(self.checkpoint) || has(self.fineTuneJobRef)",
            problem="only a job has checkpoints",
            remedy="remove it, or replace uri by fineTuneJobRef",
            field="checkpoint",
        ),
    )
