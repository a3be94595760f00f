"""Hidden states and logits of a few tokens from both models, layer by layer, in the memory of a layer.

Both take the same states into each layer, the trainer's, and are compared where these come out: by induction
the whole is equal where every layer is, and a near tie between two experts, which rounding may decide
otherwise, does not spread. The tokens' positions are apart, where a rope of another kind turns otherwise.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import linear
from torchtitan.distributed import utils as dist_utils

from finetune_trainer.base.hf_config import CONFIG, read_hf_config
from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.contract.progress.snapshot import camel_case
from finetune_trainer.model.attention import document_causal_mask
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.spec import lora_model_spec
from finetune_trainer.prepare.parity.ours import OurModel
from finetune_trainer.prepare.parity.weights import read_rows
from finetune_trainer.train.cpu import use_cpu

logger = logging.getLogger(__name__)

POSITIONS = (0, 1, 150, 5000)
"""The last is beyond the context that DeepSeek's YaRN stretches."""
TOLERANCE = 1e-4
"""Of a token's states or logits, |ours - theirs| / |theirs|, in float32."""
HEAD_ROWS = 16384
HEAD = "lm_head.weight"


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """How the model that is trained compares with transformers'; in prepared.json."""

    compared_with: str
    """transformers' class."""
    tokens: int
    layers: int
    greatest_difference: float
    """Of the states after any layer, and of the logits: relative, of all tokens but one."""
    bytes_read: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {camel_case(key): value for key, value in asdict(self).items()}

    def __str__(self) -> str:
        """One line for the log."""
        return (
            f"the states of {self.tokens} tokens after each of {self.layers} layers, and their logits, are "
            f"transformers' ({self.compared_with}) to {self.greatest_difference:.1g} of their size "
            f"({self.bytes_read / 1e9:.1f} GB read in {self.seconds:.0f} s)"
        )


@torch.no_grad()
def compare_with_transformers(flavor: str, folder: Path) -> ParityReport | None:
    """Compare both models on the base in `folder`; None where transformers has no such model.

    Holds a layer's weights, without its routed experts but those of a token, in float32: 2.4 GB for 671B's.
    Raises DataError naming the first layer whose states are apart by more than rounding explains.
    """
    # transformers takes seconds to import.
    from finetune_trainer.prepare.parity.theirs import TheirModel, has_class

    config = read_hf_config(folder)
    if not has_class(config):
        logger.info("transformers has no model of type %s: not compared with it", config.get("model_type"))
        return None
    start, tensors = time.monotonic(), BaseTensors(folder)
    with _plain_tensors():
        theirs, ours = TheirModel(config, tensors), OurModel(_our_config(flavor, folder), tensors)
        logger.info("comparing with transformers' %s, %d layers", theirs.name, ours.layers)
        states, greatest = _through_layers(ours, theirs, _embedded(tensors), folder)
        pair = ours.norm()(states), theirs.norm()(states)
        greatest = max(greatest, _checked("the logits differ", _logits(*pair, tensors), folder))
    return ParityReport(
        compared_with=theirs.name,
        tokens=len(POSITIONS),
        layers=ours.layers,
        greatest_difference=greatest,
        bytes_read=tensors.bytes_read,
        seconds=time.monotonic() - start,
    )


def _through_layers(
    ours: OurModel, theirs: Any, states: torch.Tensor, folder: Path
) -> tuple[torch.Tensor, float]:
    """The states after the last layer [1, tokens, dim], and the greatest difference after any."""
    positions = torch.tensor([POSITIONS])
    masks, greatest = document_causal_mask(positions), 0.0
    for index in range(ours.layers):
        expected = theirs.layer(index)(states, positions)
        states = ours.layer(index)(states, masks, positions)
        apart = _differences(states[0], expected[0])
        greatest = max(greatest, _checked(f"the states after layer {index} differ", apart, folder))
    return states, greatest


def _embedded(tensors: BaseTensors) -> torch.Tensor:
    """[1, tokens, dim]: the embeddings of some tokens, the same at every run."""
    name = "model.embed_tokens.weight"
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, tensors.shape(name)[0], (len(POSITIONS),), generator=generator).tolist()
    return torch.cat([read_rows(tensors, name, token, token + 1) for token in tokens])[None]


def _logits(ours: torch.Tensor, theirs: torch.Tensor, tensors: BaseTensors) -> torch.Tensor:
    """[tokens]: how far apart the logits are, a band of the head's rows at a time."""
    difference = size = torch.zeros(len(POSITIONS))
    vocabulary = tensors.shape(HEAD)[0]
    for start in range(0, vocabulary, HEAD_ROWS):
        head = read_rows(tensors, HEAD, start, min(start + HEAD_ROWS, vocabulary))
        mine, expected = linear(ours[0], head), linear(theirs[0], head)
        difference = difference + (mine - expected).square().sum(1)
        size = size + expected.square().sum(1)
    return difference.sqrt() / size.sqrt().clamp(min=1e-12)


def _differences(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """[tokens]: |ours - theirs| / |theirs|."""
    return (ours - theirs).norm(dim=1) / theirs.norm(dim=1).clamp(min=1e-12)


def _checked(problem: str, differences: torch.Tensor, folder: Path) -> float:
    """The second greatest difference: one token may be at a near tie between experts. Raises DataError."""
    apart = float(differences.nan_to_num(nan=float("inf")).sort().values[-2])
    if apart <= TOLERANCE:
        return apart
    raise DataError(
        f"{folder}: the model that would be trained is not the base: {problem} from transformers' by "
        f"{apart:.2g} of their size (the limit is {TOLERANCE:g})",
        Reason.BASE_INVALID,
        remedy=f"Report it with the base's {CONFIG}; model.verify: false trains all the same",
    )


def _our_config(flavor: str, folder: Path) -> Any:
    spec = lora_model_spec(
        flavor,
        lora=LoRASettings(rank=8, alpha=8.0),
        targets=["attention"],
        base_dtype="float32",
        device="cpu",
        base=folder,
    )
    return spec.model


@contextmanager
def _plain_tensors() -> Iterator[None]:
    """torchtitan's modules on one CPU, without a process group or a mesh."""
    use_cpu()
    before = dist_utils.get_spmd_backend()
    dist_utils.set_spmd_backend("partial_dtensor")
    try:
        yield
    finally:
        dist_utils.set_spmd_backend(before)
