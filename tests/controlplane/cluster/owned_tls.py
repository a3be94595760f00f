"""TLS connections with one owner, who closes every one that was opened, whoever has lost it meanwhile.

Where a server is killed, a connection can be lost to all: CPython's `ssl.SSLSocket._create` raises without
closing when the peer is gone before the handshake, and a response that is cut off keeps its socket in a cycle
with the exception. Left to the garbage collector, each is a ResourceWarning in whatever test runs by then.
"""

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def owned_tls(authority: Path) -> Iterator[ssl.SSLContext]:
    """What trusts `authority`, and whose sockets are closed when the block ends."""
    owned: list[ssl.SSLSocket] = []
    lock = threading.Lock()

    class Owned(ssl.SSLSocket):
        def __new__(cls, *arguments: Any, **keywords: Any) -> "Owned":
            made = super().__new__(cls, *arguments, **keywords)
            with lock:
                owned[:] = [*filter(_is_open, owned), made]
            return made

    context = ssl.create_default_context(cafile=authority)
    context.sslsocket_class = Owned
    try:
        yield context
    finally:
        with lock:
            for each in owned:
                _close(each)


def _is_open(made: ssl.SSLSocket) -> bool:
    """Whether it has a connection, or is only about to be given one."""
    return made.fileno() != -1 or not getattr(made, "_closed", False)


def _close(made: ssl.SSLSocket) -> None:
    """However many files and responses still refer to it: `close` would wait for them."""
    if (descriptor := made.detach()) != -1:
        os.close(descriptor)
