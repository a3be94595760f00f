"""Writes one file once: what is appended is hashed and written by two threads, a block at a time."""

import hashlib
import mmap
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from finetune_converter.files.digest import FileDigest
from finetune_converter.model_files.direct_file import DirectFile
from finetune_converter.model_files.tensor_file import TensorFile

BLOCK_BYTES = 4 * 1024 * 1024
BLOCKS = 4
"""Being filled, hashed or written at a time. Bounds memory."""


class _Block:
    """Memory that begins at a page, as direct I/O demands."""

    def __init__(self) -> None:
        self.memory = memoryview(mmap.mmap(-1, BLOCK_BYTES))
        self.filled = 0
        self.changed: list[tuple[int, int]] = []
        """[start, stop) of what the file does not hold yet."""
        self.pending: list[Future[None]] = []

    def append(self, count: int, *, changed: bool) -> None:
        start, self.filled = self.filled, self.filled + count
        if changed and self.changed and self.changed[-1][1] == start:
            start, _ = self.changed.pop()
        if changed:
            self.changed.append((start, self.filled))

    def reuse(self) -> None:
        """Wait until it is hashed and written. Raises what either raised."""
        for pending in self.pending:
            pending.result()
        self.pending, self.changed, self.filled = [], [], 0


class HashedWriter:
    """A file at `path`, durable when `finish` returns. SHA-256, reads and writes all run without the GIL."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        """With `shared`, the file shares its bytes with the base's: only what `write` gets is written."""
        self._shared = shared
        self._file = DirectFile(path, new=not shared)
        self._hash = hashlib.sha256()
        self._threads = {name: ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("sha256", "write")}
        self._ring = [_Block() for _ in range(BLOCKS)]
        self._position = 0
        """Of the block that is being filled."""

    def write(self, buffer: bytes | memoryview) -> None:
        """Append new bytes."""
        view = memoryview(buffer).cast("B")

        def copy(room: memoryview, begin: int) -> None:
            room[:] = view[begin : begin + len(room)]

        self._append(copy, 0, len(view), changed=True)

    def carry(self, source: TensorFile, begin: int, end: int) -> None:
        """Append the bytes [begin, end) of a file of the base."""
        self._append(source.read_into, begin, end, changed=not self._shared)

    def _append(
        self, fill: Callable[[memoryview, int], None], begin: int, end: int, *, changed: bool
    ) -> None:
        while begin < end:
            block = self._ring[0]
            room = block.memory[block.filled : block.filled + end - begin]
            fill(room, begin)
            block.append(len(room), changed=changed)
            begin += len(room)
            if block.filled == BLOCK_BYTES:
                self._submit(block)

    def _submit(self, block: _Block) -> None:
        """Give a block to both threads, and make room in the one that they had first."""
        block.pending = [
            self._threads["sha256"].submit(self._hash.update, block.memory[: block.filled]),
            self._threads["write"].submit(self._write, block, self._position),
        ]
        self._position += block.filled
        self._ring = [*self._ring[1:], block]
        self._ring[0].reuse()

    def _write(self, block: _Block, position: int) -> None:
        for start, stop in block.changed:
            self._file.write(block.memory[start:stop], position + start)

    def finish(self) -> FileDigest:
        self._submit(self._ring[0])
        for block in self._ring:
            block.reuse()
        self._file.sync()
        return FileDigest(sha256=self._hash.hexdigest(), size=self._position)

    def close(self) -> None:
        for thread in self._threads.values():
            thread.shutdown(wait=True, cancel_futures=True)
        self._file.close()
