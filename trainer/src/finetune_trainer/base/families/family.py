"""What the models of one `model_type` share and their config.json does not say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Tokenizer = Literal["tokenizer.json", "tiktoken.model"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model that its makers publish."""

    name: str
    repositories: tuple[str, ...]
    """On the Hugging Face hub. All have one config.json, as far as it is computed with."""
    shape: str
    """The name by which tests try it at a small size (tests/builders/random_families.py)."""
    tokenizer: Tokenizer = "tokenizer.json"
    weights: Literal["FP8", "BF16"]
    """As they are published: FP8 in blocks of 128x128."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Latent attention, and experts after the first dense layers, in one way of writing it down."""

    model_type: str
    architecture: str
    """The class of transformers' and vLLM's that config.json names."""
    models: tuple[Published, ...]
    defaults: Mapping[str, Any]
    """What transformers (5.20) takes where config.json leaves a field out; vLLM asks the same classes."""
    scoring_func: Literal["sigmoid", "softmax"]
    """How the router scores experts. By sigmoids, it chooses them with a bias: e_score_correction_bias."""
    topk_methods: tuple[str, ...]
    """How it chooses them: the first is taken where config.json is silent and may be."""
    says_its_router: bool = False
    """Whether vLLM serves another model where config.json leaves out scoring_func or topk_method."""
    unlisted_dense_layers: int | None = None
    """Where transformers reads the dense layers from mlp_layer_types alone: how many it takes without it."""
    fixed: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    """Further fields of one value, with what to do about another one."""
    computed_as: str | None = None
    """The model_type of transformers' class for it, where that is another one."""

    @property
    def transformers_type(self) -> str:
        """The model_type by which transformers knows it."""
        return self.computed_as or self.model_type
