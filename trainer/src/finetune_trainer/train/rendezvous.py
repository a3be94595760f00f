"""How agents meet whose ranks are known before: nothing is agreed on, and nothing unpickled.

torchrun's c10d rendezvous unpickles its state from the store, into which whoever reaches its port may write
(docs/adr/0011). torchrun's static one has no such state, and does not notice that node 0 is gone.
"""

import time
from datetime import timedelta

from torch.distributed.elastic.rendezvous import RendezvousParameters, rendezvous_handler_registry
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import (
    StaticTCPRendezvous,
    create_rdzv_handler,
)

BACKEND = "finetune-static"
_PERIOD_SECONDS = 5.0
_ANSWER = timedelta(seconds=60)


class KnownRanks(StaticTCPRendezvous):
    """torchrun's static rendezvous, whose agents end when they lose the store of node 0."""

    _asked = 0.0

    def get_backend(self) -> str:
        """The name that it is registered by."""
        return BACKEND

    def num_nodes_waiting(self) -> int:
        """No node ever waits. Asked many times a second; raises DistError where node 0 answers no more."""
        if self._store is not None and time.monotonic() - self._asked > _PERIOD_SECONDS:
            self._asked = time.monotonic()
            self._store.set_timeout(_ANSWER)
            self._store.check(["is node 0 there"])
        return 0


def register() -> None:
    """Make the backend known to torchrun's launcher."""
    if BACKEND not in rendezvous_handler_registry._registry:
        rendezvous_handler_registry.register(BACKEND, _create)


def _create(parameters: RendezvousParameters) -> KnownRanks:
    handler = create_rdzv_handler(parameters)
    assert isinstance(handler, StaticTCPRendezvous)
    return KnownRanks(
        handler.master_addr,
        handler.master_port,
        handler.rank,
        handler.world_size,
        handler.run_id,
        int(handler.timeout.total_seconds()),
    )
