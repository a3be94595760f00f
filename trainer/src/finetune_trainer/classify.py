"""What an error of torch's means for the user."""

import torch
import torch.distributed as dist

from finetune_trainer.failure import (
    CommunicationError,
    ConfigurationError,
    MemoryExhaustedError,
    StageError,
)

# gloo raises plain RuntimeErrors; these are the words of its lost and timed-out connections.
GLOO_FAILURES = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting", "Read error")


def as_stage_error(error: BaseException) -> StageError | None:
    """The failure that `error` is, or None for one that nobody expected: that one keeps its traceback."""
    if isinstance(error, StageError):
        return error
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        return MemoryExhaustedError(
            reason="OutOfMemory",
            message=text.splitlines()[0] if text else "out of memory",
            remedy="Lower training.microBatchSize or sequenceLength, or use more workers",
        )
    if isinstance(error, dist.DistError) or any(words in text for words in GLOO_FAILURES):
        return CommunicationError(
            reason="PeerLost",
            message=f"a collective with the other processes failed: {text.splitlines()[0]}",
            remedy="See the log of the process that ended first; the run goes on from its last checkpoint",
        )
    if "Loss is not finite" in text:
        return ConfigurationError(
            reason="LossNotFinite",
            message=text.split(". ")[0],
            remedy="Lower training.learningRate or raise warmupSteps",
        )
    return None
