"""An S3 bucket as a source. boto3's own variables are honoured: AWS_*, AWS_ENDPOINT_URL."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from urllib3.exceptions import HTTPError

from finetune_trainer.contract.failure import CommunicationError, ConfigurationError, Failure, Reason
from finetune_trainer.prepare.source import Listing, RemoteFile, corrupted

CHUNK = 8 * 2**20
FILES_AT_ONCE = 8
TRIES = 3
PART = ".part"


class BucketSource:
    """All objects under a prefix."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.uri = f"s3://{bucket}/{prefix}"
        self.bucket = bucket
        self.prefix = prefix.rstrip("/")
        self._client = boto3.Session().client("s3")
        self._keys: dict[str, str] = {}

    def list_files(self) -> Listing:
        with self._failures():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix
            )
            objects = [entry for page in pages for entry in page.get("Contents", [])]
        found = {self._name(entry["Key"]): entry for entry in objects if not entry["Key"].endswith("/")}
        self._keys = {name: entry["Key"] for name, entry in found.items() if name}
        if not self._keys:
            raise ConfigurationError(
                f"{self.uri}: there is nothing there", Reason.SOURCE_NOT_FOUND, remedy="Correct the URI"
            )
        files = (
            RemoteFile(name=name, size=found[name]["Size"], etag=found[name]["ETag"].strip('"'))
            for name in self._keys
        )
        return Listing(revision=None, files=tuple(files))

    def _name(self, key: str) -> str:
        """The file's name under the prefix; nothing for a key that only begins like it."""
        if key == self.prefix:
            return key.rpartition("/")[2]
        return key[len(self.prefix) :].lstrip("/") if key.startswith(self._folder) else ""

    @property
    def _folder(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    def download(self, files: Sequence[RemoteFile], revision: str | None, folder: Path) -> None:  # noqa: ARG002
        with ThreadPoolExecutor(FILES_AT_ONCE) as threads, self._failures():
            for _ in threads.map(lambda file: self._download(file, folder), files):
                pass

    def _download(self, file: RemoteFile, folder: Path) -> None:
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        # An object that was replaced meanwhile has another tag, and begins anew.
        part = target.with_name(f"{target.name}.{file.etag}{PART}")
        for remaining in reversed(range(TRIES)):
            try:
                self._resume(file, part)
                break
            except (HTTPError, BotoCoreError):
                if not remaining:
                    raise
        if not self._is_whole(file, part):
            part.unlink()
            raise corrupted(f"{self.uri}/{file.name}")
        part.replace(target)

    def _resume(self, file: RemoteFile, part: Path) -> None:
        """Append to `part` what is missing."""
        part.touch()
        have = part.stat().st_size
        if have >= file.size:
            return
        answer = self._client.get_object(
            Bucket=self.bucket, Key=self._keys[file.name], IfMatch=file.etag, Range=f"bytes={have}-"
        )
        with part.open("ab") as stream:
            for chunk in answer["Body"].iter_chunks(CHUNK):
                stream.write(chunk)

    def _is_whole(self, file: RemoteFile, part: Path) -> bool:
        """By size, and by md5 where the tag is one: an object put in one piece, without a KMS key."""
        if part.stat().st_size != file.size:
            return False
        if not re.fullmatch("[0-9a-f]{32}", file.etag or ""):
            return True
        head = self._client.head_object(Bucket=self.bucket, Key=self._keys[file.name])
        return head.get("ServerSideEncryption", "").startswith("aws:kms") or _md5(part) == file.etag

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, HTTPError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> Failure:
        code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
        if code in ("NoSuchBucket", "NoSuchKey", "404"):
            return ConfigurationError(
                f"{self.uri}: not found ({code})", Reason.SOURCE_NOT_FOUND, remedy="Correct the URI"
            )
        if isinstance(error, NoCredentialsError) or code in _FORBIDDEN:
            return ConfigurationError(
                f"{self.uri}: these credentials may not read it ({code or 'none given'})",
                Reason.SOURCE_FORBIDDEN,
                remedy="Give AWS credentials that may list and read it",
            )
        return CommunicationError(
            f"{self.uri}: cannot be read ({error})",
            Reason.SOURCE_UNREACHABLE,
            remedy="The next attempt goes on from what was fetched; check the network and AWS_ENDPOINT_URL",
        )


_FORBIDDEN = ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
