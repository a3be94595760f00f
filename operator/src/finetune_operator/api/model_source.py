"""The base model that a job starts from."""

from typing import ClassVar, Literal

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import Revision
from finetune_operator.api.refused_models import REFUSED_MODELS
from finetune_operator.api.rules import Rule
from finetune_operator.api.secrets import SecretKeyRef
from finetune_operator.api.uri import NOT_READ_YET, Uri, only_the_hub_has_revisions

Layers = Literal["all", "debug"]


class ModelSource(ApiModel):
    """A model in Hugging Face format, and where it is."""

    uri: Uri
    """hf://ORG/NAME on the Hugging Face hub, s3://BUCKET/PREFIX, or a path relative to the volume's root."""

    revision: Revision | None = None
    """Branch, tag or commit of an hf:// model. Default: main. A commit makes the run repeatable."""

    layers: Layers = "all"
    """all, or debug: the base at its full widths with its first dense layer and its first layer of experts
    alone, cut out of its weights into a folder of its own. Of an hf:// or s3:// base only the files that hold
    them are fetched."""

    verify: bool = True
    """Before training, compare the model that is trained with transformers' own on this base: the states of a
    few tokens after each layer, and their logits. Reads less than a third of a 671B base."""


class ModelSpec(ModelSource):
    """The base model, with the token that opens it."""

    token_secret_ref: SecretKeyRef | None = None
    """The Secret key that holds the hub's token, for a gated or private hf:// model."""

    rules: ClassVar[tuple[Rule, ...]] = (
        NOT_READ_YET,
        *REFUSED_MODELS,
        only_the_hub_has_revisions("model"),
        Rule(
            rule="!has(self.tokenSecretRef) || self.uri.startsWith('hf://')",
            problem="only an hf:// model takes a token",
            remedy="remove it; credentials for s3:// come from workers.podOverrides.env",
            field="tokenSecretRef",
        ),
    )
