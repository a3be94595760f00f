"""How ranks put their parts of layers together for a checkpoint: over the device's group, in rounds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from finetune_trainer.checkpoint.tensors import Part

PartsByFile = Mapping[str, Sequence[Part]]
Held = Mapping[str, Mapping[Part, torch.Tensor]]
"""What this rank holds, by file and place."""
TensorsByFile = dict[str, dict[str, torch.Tensor]]

ROUND_BYTES = 2**27
"""What a rank receives at once, beside the training, in its device's memory."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """`part` of a file's tensors, from a rank that holds it to the one that writes the file."""

    file: str
    part: Part
    source: int
    writer: int

    @property
    def bytes(self) -> int:
        """What travels: nothing where the writer holds it."""
        return 0 if self.source == self.writer else self.part.bytes


def planned_transfers(held: Sequence[PartsByFile]) -> list[Transfer]:
    """All of them in one order, from what each rank holds. Ranks that share files take turns in writing."""
    planned: list[Transfer] = []
    for turn, file in enumerate(sorted(set().union(*held))):
        holders = [rank for rank, files in enumerate(held) if file in files]
        writer = holders[turn % len(holders)]
        sources: dict[Part, int] = {}
        for rank in [writer, *holders]:
            for part in held[rank][file]:
                sources.setdefault(part, rank)
        planned += [
            Transfer(file=file, part=part, source=source, writer=writer) for part, source in sources.items()
        ]
    return planned


def rounds(transfers: Sequence[Transfer], limit: int = ROUND_BYTES) -> list[list[Transfer]]:
    """In a round every writer receives at most `limit` bytes, or one part that is larger."""
    made: list[list[Transfer]] = []
    for writer in sorted({transfer.writer for transfer in transfers}):
        number, size = 0, 0
        for transfer in (each for each in transfers if each.writer == writer):
            if size and size + transfer.bytes > limit:
                number, size = number + 1, 0
            size += transfer.bytes
            if number == len(made):
                made.append([])
            made[number].append(transfer)
    return made


class Exchange:
    """This rank's side of every checkpoint of a run. Every rank runs it between two steps.

    Beside a step, NCCL's kernels would take their turns with the step's own, in another order on each rank.
    """

    def __init__(self, transfers: Sequence[Transfer], device: torch.device, limit: int = ROUND_BYTES) -> None:
        self._rounds = rounds(transfers, limit)
        self._device = device
        self._rank = dist.get_rank()

    def whole_tensors(self, held: Held) -> TensorsByFile:
        """Copies on the host of the whole tensors of the files that this rank writes."""
        whole: TensorsByFile = {}
        for transfers in self._rounds:
            for transfer, values in self._round(transfers, held):
                part, tensors = transfer.part, whole.setdefault(transfer.file, {})
                if part.name not in tensors:
                    tensors[part.name] = torch.empty(part.shape, dtype=part.dtype)
                tensors[part.name][part.slices] = values.cpu()
        return whole

    def _round(self, transfers: Sequence[Transfer], held: Held) -> Iterator[tuple[Transfer, torch.Tensor]]:
        """Each part that this rank writes, with its values."""
        received: dict[int, torch.Tensor] = {}
        operations: list[dist.P2POp] = []
        for number, transfer in enumerate(transfers):
            if transfer.source == transfer.writer:
                continue
            if transfer.source == self._rank:
                values = held[transfer.file][transfer.part].to(self._device).contiguous()
                operations.append(dist.P2POp(dist.isend, values, transfer.writer, tag=number))
            elif transfer.writer == self._rank:
                part = transfer.part
                received[number] = torch.empty(part.sizes, dtype=part.dtype, device=self._device)
                operations.append(dist.P2POp(dist.irecv, received[number], transfer.source, tag=number))
        if operations:
            for work in dist.batch_isend_irecv(operations):
                work.wait()
        for number, transfer in enumerate(transfers):
            if transfer.source == transfer.writer == self._rank:
                yield transfer, held[transfer.file][transfer.part]
            elif transfer.writer == self._rank:
                yield transfer, received[number]
