"""Which rank sends which part of a layer to the rank that writes it: as tensors, one copy of each part."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from finetune_trainer.checkpoint.tensors import Part, ShardCopy

PartsByFile = Mapping[str, Sequence[Part]]


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """`part` of a file's tensors, from a rank that holds it to the one that writes the file.

    number: unique in a checkpoint, the same on all ranks. Messages of that tag belong to it.
    """

    number: int
    file: str
    part: Part
    source: int
    writer: int


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
        for part, source in sources.items():
            number = len(planned)
            planned.append(Transfer(number=number, file=file, part=part, source=source, writer=writer))
    return planned


class Exchange:
    """This rank's side: sends go on in the background while it receives what it writes."""

    def __init__(
        self,
        transfers: Sequence[Transfer],
        copies: Mapping[str, Sequence[ShardCopy]],
        group: dist.ProcessGroup,
    ) -> None:
        self._rank, self._group = dist.get_rank(), group
        self._own = {(file, copied.part): copied.values for file, own in copies.items() for copied in own}
        self._transfers = transfers
        self._sends = [
            dist.isend(self._values(transfer), transfer.writer, group=group, tag=transfer.number)
            for transfer in transfers
            if transfer.source == self._rank != transfer.writer
        ]

    def files(self) -> list[str]:
        """Those that this rank writes."""
        return sorted({transfer.file for transfer in self._transfers if transfer.writer == self._rank})

    def whole(self, file: str) -> dict[str, torch.Tensor]:
        """The whole tensors of `file`, by name: no more than these, and one part, are in memory for it."""
        tensors: dict[str, torch.Tensor] = {}
        for transfer in self._received(file):
            part = transfer.part
            if part.name not in tensors:
                tensors[part.name] = torch.empty(part.shape, dtype=part.dtype)
            self._fill(tensors[part.name][part.slices], transfer)
        return tensors

    def wait(self) -> None:
        """Return when the others have what this rank sent."""
        for send in self._sends:
            if send is not None:
                send.wait()

    def _received(self, file: str) -> Iterator[Transfer]:
        return (each for each in self._transfers if each.file == file and each.writer == self._rank)

    def _fill(self, target: torch.Tensor, transfer: Transfer) -> None:
        if transfer.source == self._rank:
            target.copy_(self._own[file_part(transfer)])
            return
        whole_rows = target.is_contiguous()
        received = target if whole_rows else torch.empty(target.shape, dtype=target.dtype)
        dist.recv(received, transfer.source, group=self._group, tag=transfer.number)
        if not whole_rows:
            target.copy_(received)

    def _values(self, transfer: Transfer) -> torch.Tensor:
        return self._own[file_part(transfer)].contiguous()


def file_part(transfer: Transfer) -> tuple[str, Part]:
    return transfer.file, transfer.part
