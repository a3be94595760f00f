"""One process at a time fills a folder of the shared volume."""

import errno
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)
# A volume without locks: Lustre mounted without flock, some object store mounts.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` against other processes that prepare it, on this machine and, over NFS, on others.

    A POSIX record lock and not flock(2): NFS passes those on to the server, and the kernel releases them
    when the process or the client is gone. The lock is beside the folder, which need not exist.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("a") as file:
        _acquire(file.fileno(), folder)
        yield  # closing the file releases the lock


def _acquire(descriptor: int, folder: Path) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.info("waiting: another process prepares %s", folder)
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning("%s: the volume has no file locks; do not prepare it twice at once", folder)
