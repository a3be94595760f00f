"""How much memory a traced step has taken at most, and what it sends: counted op by op, of fake tensors."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from finetune_trainer.distributed.shards import local_tensor


class TracedCost(TorchDispatchMode):
    """Entered inside a FakeTensorMode. `peak` is in bytes; `collectives` has calls and bytes by name."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._sizes: dict[int, int] = {}
        self.collectives: dict[str, dict[str, int]] = {}
        self._resizing = patch.object(
            torch.UntypedStorage, "resize_", self._resized(torch.UntypedStorage.resize_)
        )

    def start_step(self) -> int:
        """Count peak and collectives from here; the bytes that are taken now."""
        self.peak = self._now
        self.collectives.clear()
        return self._now

    def __enter__(self) -> "TracedCost":
        self._resizing.start()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._resizing.stop()

    def __torch_dispatch__(
        self, function: Any, _types: Any, arguments: Any = (), settings: Any = None
    ) -> Any:
        result = function(*arguments, **(settings or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.device.type != "meta":
                self._take(local_tensor(value).untyped_storage())
        if "c10d" in function.namespace:
            self._sent(function.name(), arguments)
        return result

    def _sent(self, name: str, arguments: Sequence[Any]) -> None:
        """The larger side counts: what is gathered, or what is reduced. A side may be a list of buffers."""
        sides = [
            sum(value.nbytes for value in tree_leaves(argument) if isinstance(value, torch.Tensor))
            for argument in arguments
        ]
        row = self.collectives.setdefault(name.split("::")[1].strip("_"), {"calls": 0, "bytes": 0})
        row["calls"] += 1
        row["bytes"] += max(sides)

    def _take(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._set(key, storage.nbytes())
            weakref.finalize(storage, self._free, key)

    def _set(self, key: int, size: int) -> None:
        self._now += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        self.peak = max(self.peak, self._now)

    def _free(self, key: int) -> None:
        self._now -= self._sizes.pop(key, 0)

    def _resized(self, resize: Callable[..., Any]) -> Callable[..., None]:
        """FSDP frees and takes what it gathers so."""

        def resized(storage: torch.UntypedStorage, size: int) -> None:
            resize(storage, size)
            if storage._cdata in self._sizes:
                self._set(storage._cdata, size)

        return resized
