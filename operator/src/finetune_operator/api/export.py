"""The model that comes out."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.rules import Rule
from finetune_operator.api.secrets import SecretKeyRef, SecretRef
from finetune_operator.api.uri import NO_PLACE_TO_PUSH_TO, Uri

PushFormat = Literal["image", "modelpack"]
ExportDtype = Literal["base", "bfloat16", "float8", "float16"]


class PushTarget(ApiModel):
    """Where the merged model is pushed to."""

    uri: Uri
    """oci://HOST/REPOSITORY:TAG, s3://BUCKET/PREFIX, or hf://ORG/NAME on the Hugging Face hub."""

    format: PushFormat = "image"
    """What a model at oci:// is. image: an image of one layer per file, which an image volume mounts.
    modelpack: an artifact of CNCF ModelPack's types, whose layers are the files."""


class PushSpec(PushTarget):
    """Where the merged model is pushed to, and what opens it."""

    credentials_secret_ref: SecretRef | None = None
    """The Secret with the credentials: of oci:// a kubernetes.io/dockerconfigjson, of hf:// its key HF_TOKEN,
    of s3:// its keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Default: what the pods have themselves."""

    rules: ClassVar[tuple[Rule, ...]] = (
        NO_PLACE_TO_PUSH_TO,
        Rule(
            rule="self.format == 'image' || self.uri.startsWith('oci://')",
            problem="only a registry holds artifacts",
            remedy="remove it, or push to oci://",
            field="format",
        ),
    )


class SigningSpec(ApiModel):
    """The key that the merged model is signed with."""

    key_secret_ref: SecretKeyRef
    """The Secret key that holds the private key in PEM, on P-256, P-384 or P-521."""


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

    signing: SigningSpec | None = None
    """Sign the merged model in OpenSSF Model Signing's format (model.sig) once the gate has passed it.
    Default: it is not signed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.signing) || (self.verify && !self.adapterOnly)",
            problem="a signature says that the gate has passed the merged model",
            remedy="set verify to true and adapterOnly to false, or remove signing",
            field="signing",
        ),
        Rule(
            rule="!has(self.push) || !self.adapterOnly",
            problem="there is no merged model to push",
            remedy="remove push, or set adapterOnly to false",
            field="push",
        ),
    )
