"""Where a base model or a dataset comes from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from finetune_trainer.contract.failure import CommunicationError, ConfigurationError, Reason


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    name: str
    size: int
    sha256: str | None = None
    blob: str | None = None
    """git's blob id, of files that the hub keeps in git itself."""
    etag: str | None = None
    """S3's tag of this version of the object."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    revision: str | None
    """The commit that the files are of; None where the source has no revisions."""
    files: tuple[RemoteFile, ...]


class Source(Protocol):
    """A place to download from. Both methods raise a Failure that names the URI and says what to do."""

    uri: str

    def list_files(self) -> Listing: ...

    def download(self, files: Sequence[RemoteFile], revision: str | None, folder: Path) -> None:
        """Fetch `files` into `folder`, going on from what an earlier call left there."""
        ...


@dataclass(frozen=True, kw_only=True)
class Location:
    """A parsed URI: `hf://org/name[/path]`, `s3://bucket/prefix`, or a path in the volume."""

    scheme: str
    """"hf", "s3", or "" for a path."""
    container: str
    """The repository, the bucket, or nothing."""
    path: str
    """Inside the container: a file or a folder; empty for all of it."""


def parse_location(uri: str, field: str) -> Location:
    """Raises ConfigurationError naming `field` for a URI of another form."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Location(scheme="", container="", path=uri)
    parts = rest.strip("/").split("/")
    length = {"hf": 2, "s3": 1}.get(scheme)
    if length is None:
        raise ConfigurationError(f"{field}: {uri} is neither hf://, s3:// nor a path in the volume")
    if len(parts) < length or not all(re.fullmatch(r"[\w.\-]+", part) for part in parts[:length]):
        form = {"hf": "hf://organization/name", "s3": "s3://bucket/prefix"}[scheme]
        raise ConfigurationError(f"{field}: {uri} has not the form {form}")
    return Location(scheme=scheme, container="/".join(parts[:length]), path="/".join(parts[length:]))


def corrupted(place: str) -> CommunicationError:
    return CommunicationError(
        f"{place}: what was fetched is not what the source has",
        Reason.SOURCE_CORRUPTED,
        remedy="The damaged file was removed; the next attempt fetches it again",
    )
