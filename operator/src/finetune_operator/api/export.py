"""The model that comes out."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.rules import Rule
from finetune_operator.api.secrets import SecretRef
from finetune_operator.api.uri import NO_PLACE_TO_PUSH_TO, Uri

ExportDtype = Literal["base", "bfloat16", "float8", "float16"]


class PushTarget(ApiModel):
    """Where the merged model is pushed to."""

    uri: Uri
    """oci://HOST/REPOSITORY:TAG (an image that an image volume mounts), s3://BUCKET/PREFIX, or hf://ORG/NAME
    on the Hugging Face hub."""


class PushSpec(PushTarget):
    """Where the merged model is pushed to, and what opens it."""

    credentials_secret_ref: SecretRef | None = None
    """The Secret with the credentials: of oci:// a kubernetes.io/dockerconfigjson, of hf:// its key HF_TOKEN,
    of s3:// its keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Default: what the pods have themselves."""

    rules: ClassVar[tuple[Rule, ...]] = (NO_PLACE_TO_PUSH_TO,)


class Export(ApiModel):
    """Data type, shards, the gate and the way of the merged model."""

    dtype: ExportDtype = "base"
    """Data type of the merged weights: base (as the base model has them), bfloat16, float8 (128x128 blocks,
    as DeepSeek-V3 is published) or float16, which overflows on this model family."""

    shards: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pods that merge side by side, each its share of the base's files."""

    verify: bool = True
    """Compare the merged model with the adapter on the base before it is released."""

    adapter_only: bool = False
    """Stop at the adapter, in PEFT format, and merge nothing."""

    push: PushTarget | None = None
    """Send the merged model to a registry, a bucket or a hub once it is released. Default: it stays in the
    volume."""


class ExportSpec(Export):
    """The merged model, with what opens the place that it is pushed to."""

    push: PushSpec | None = None
    """Send the merged model to a registry, a bucket or a hub once it is released. Default: it stays in the
    volume."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.push) || !self.adapterOnly",
            problem="there is no merged model to push",
            remedy="remove push, or set adapterOnly to false",
            field="push",
        ),
    )
