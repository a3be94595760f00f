"""Gives a second folder the same file, touching as few bytes as the file system allows."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

FICLONE = 0x40049409
"""ioctl of linux/fs.h: share all extents of a file (XFS, Btrfs, overlay on them)."""
_UNSUPPORTED = (
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EPERM,
    errno.EMLINK,
)


class Method(StrEnum):
    REFLINK = "reflink"
    HARD_LINK = "hard link"
    COPY = "copy"


def duplicate(source: Path, target: Path) -> Method:
    """Reflink, else hard link, else a copy in the kernel. `target` must not exist."""
    if reflink(source, target):
        return Method.REFLINK
    try:
        # Neither side is ever written in place: both folders only see files appear by rename and vanish.
        os.link(source, target)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        kernel_copy(source, target)
        return Method.COPY
    return Method.HARD_LINK


def cheapest_method(source: Path, folder: Path) -> Method:
    """How `duplicate` would bring the files beside `source` into `folder`, tried on `source`."""
    # Pods of one Indexed Job probe the same folder at the same time.
    probe = folder / f".{source.name}.{socket.gethostname()}-{os.getpid()}.probe"
    probe.unlink(missing_ok=True)
    try:
        return duplicate(source, probe)
    finally:
        probe.unlink(missing_ok=True)


def reflink(source: Path, target: Path) -> bool:
    """Whether the file system made `target` share the extents of `source`; leaves nothing behind if not."""
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.ioctl(writing, FICLONE, reading)
            os.fsync(writing)
            return True
        except OSError as error:
            os.unlink(target)
            if error.errno in _UNSUPPORTED:
                return False
            raise
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def kernel_copy(source: Path, target: Path) -> None:
    """copy_file_range, which a network file system may do on the server; sendfile where it cannot."""
    with open(source, "rb", buffering=0) as reading, open(target, "xb", buffering=0) as writing:
        left = os.fstat(reading.fileno()).st_size
        copy: Callable[[int, int, int], int] = os.copy_file_range
        while left:
            try:
                count = copy(reading.fileno(), writing.fileno(), min(left, 1 << 30))
            except OSError as error:
                if copy is not os.copy_file_range or error.errno not in _UNSUPPORTED:
                    raise
                copy = _sendfile
                continue
            if count == 0:
                raise OSError(errno.EIO, "the file became shorter while it was copied", str(source))
            left -= count
        os.fsync(writing.fileno())


def _sendfile(reading: int, writing: int, count: int) -> int:
    return os.sendfile(writing, reading, None, count)
