"""The model that comes out."""

from typing import Annotated, Literal

from pydantic import Field

from finetune_operator.api.base import ApiModel

ExportDtype = Literal["base", "bfloat16", "float8", "float16"]


class ExportSpec(ApiModel):
    """Data type, shards and the gate of the merged model."""

    dtype: ExportDtype = "base"
    """Data type of the merged weights: base (as the base model has them), bfloat16, float8 (128x128 blocks,
    as DeepSeek-V3 is published) or float16, which overflows on this model family. Default: base."""

    shards: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processes that merge side by side, each its share of the base's files. Default: 1."""

    verify: bool = True
    """Compare the merged model with the adapter on the base before it is released. Default: true."""

    adapter_only: bool = False
    """Stop at the adapter, in PEFT format, and merge nothing. Default: false."""
