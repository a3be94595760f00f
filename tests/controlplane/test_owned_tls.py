"""Twenty set-ups and tear-downs leave no connection, however their server went away."""

import gc
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
import urllib3
from cluster.owned_tls import owned_tls
from cluster.webhook_certificate import write_certificate

RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: to close is to reset
Serve = Callable[[socket.socket, ssl.SSLContext], None]


def resets_at_once(connection: socket.socket, _: ssl.SSLContext) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def resets_in_the_handshake(connection: socket.socket, _: ssl.SSLContext) -> None:
    connection.recv(10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def ends_in_the_answer(connection: socket.socket, tls: ssl.SSLContext) -> None:
    with tls.wrap_socket(connection, server_side=True) as secure:
        secure.recv(1000)
        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nwhat is there of it")


def refuses(connection: socket.socket, tls: ssl.SSLContext) -> None:
    with tls.wrap_socket(connection, server_side=True) as secure:
        secure.recv(1000)
        secure.sendall(b"HTTP/1.1 500 Starting\r\nContent-Length: 2\r\n\r\nno")


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    write_certificate(tmp_path / "certificates")
    return tmp_path / "certificates"


@pytest.fixture
def server(certificates: Path, serve: Serve) -> Iterator[int]:
    """Its port."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=_accept, args=(listening, tls, serve))
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(listening: socket.socket, tls: ssl.SSLContext, serve: Serve) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                serve(connection, tls)


@pytest.mark.parametrize(
    "serve",
    [
        pytest.param(resets_at_once, id="reset at once"),
        pytest.param(resets_in_the_handshake, id="reset in the handshake"),
        pytest.param(ends_in_the_answer, id="cut off in the answer"),
        pytest.param(refuses, id="refused"),
    ],
)
def test_no_connection_is_left(server: int, certificates: Path) -> None:
    others, kept = _open_connections(), []
    for _ in range(20):
        with owned_tls(certificates / "tls.crt") as tls, suppress(urllib3.exceptions.HTTPError):
            pool = urllib3.PoolManager(ssl_context=tls, retries=False)
            kept.append(pool.request("GET", f"https://127.0.0.1:{server}/", preload_content=False))
            kept[-1].read()
    assert _open_connections() <= others


def _open_connections() -> set[int]:
    """By identity: what is kept alive keeps it."""
    return {id(each) for each in gc.get_objects() if isinstance(each, ssl.SSLSocket) and each.fileno() != -1}
