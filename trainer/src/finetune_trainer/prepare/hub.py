"""The Hugging Face hub as a source. HF_ENDPOINT, HF_TOKEN and, of datasets, HF_DATASET_TOKEN are honoured."""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import httpx
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils._http import parse_ratelimit_headers
from huggingface_hub.utils.tqdm import disable_progress_bars

from finetune_trainer.contract.failure import CommunicationError, ConfigurationError, Failure, Reason
from finetune_trainer.prepare.source import Listing, RemoteFile

logger = logging.getLogger(__name__)

Kind = Literal["model", "dataset"]
T = TypeVar("T")

TRIES = 3
# The hub counts requests in windows of five minutes (https://huggingface.co/docs/hub/rate-limits).
LONGEST_WAIT = 300.0
WAIT = 30.0
"""Seconds until the next try where the hub does not say how long."""


class HubSource:
    """A repository of the hub at a revision."""

    def __init__(self, repository: str, revision: str | None, kind: Kind) -> None:
        self.uri = f"hf://{repository}"
        self.repository = repository
        self.revision = revision
        self.kind = kind
        self._endpoint = os.environ.get("HF_ENDPOINT")
        # False: without a token of the job's, none of this machine's user either.
        own = os.environ.get("HF_DATASET_TOKEN") if kind == "dataset" else None
        self._token: str | bool = own or os.environ.get("HF_TOKEN") or False
        disable_progress_bars()

    def list_files(self) -> Listing:
        api = HfApi(endpoint=self._endpoint, token=self._token)
        info_of = api.model_info if self.kind == "model" else api.dataset_info
        with self._failures():
            info = _within_limits(
                lambda: info_of(self.repository, revision=self.revision, files_metadata=True)
            )
        return Listing(revision=info.sha, files=tuple(map(_remote_file, info.siblings or ())))

    def download(self, files: Sequence[RemoteFile], revision: str | None, folder: Path) -> None:
        with self._failures():
            snapshot_download(
                self.repository,
                repo_type=self.kind,
                revision=revision,
                local_dir=folder,
                allow_patterns=[_exactly(file.name) for file in files],
                endpoint=self._endpoint,
                token=self._token,
            )
        # The client's notes for resuming; a model's folder holds the model only.
        shutil.rmtree(folder / ".cache", ignore_errors=True)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except json.JSONDecodeError as error:
            raise CommunicationError(
                f"{self.uri}: what answered is not the hub: a page, and no JSON",
                Reason.SOURCE_UNREACHABLE,
                remedy="A proxy or a login page is between: check HF_ENDPOINT, HTTPS_PROXY and the network",
            ) from error
        except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> Failure:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        if isinstance(error, GatedRepoError) or status == 403:
            return ConfigurationError(
                f"{self.uri}: this token may not read it",
                Reason.SOURCE_FORBIDDEN,
                remedy="Accept the repository's terms on the hub, or give a token that may read it",
            )
        if isinstance(error, RevisionNotFoundError):
            return ConfigurationError(
                f"{self.uri}: there is no revision {self.revision}",
                Reason.SOURCE_NOT_FOUND,
                remedy="Set revision to a branch, a tag or a commit of it",
            )
        if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
            return ConfigurationError(
                f"{self.uri}: not found, or private ({status})",
                Reason.SOURCE_NOT_FOUND,
                remedy="Correct the name, or give a token that may read it",
            )
        if status == 429:
            return CommunicationError(
                f"{self.uri}: the hub takes no more requests for now (429)",
                Reason.SOURCE_UNREACHABLE,
                remedy="The next attempt goes on from what was fetched; with a token (tokenSecretRef) the "
                "limit is higher",
            )
        return CommunicationError(
            f"{self.uri}: the hub cannot be reached ({_first_line(error)})",
            Reason.SOURCE_UNREACHABLE,
            remedy="The next attempt goes on from what was fetched; check the network and HF_ENDPOINT",
        )


def _within_limits(ask: Callable[[], T]) -> T:
    """What `ask` answers, asked again after the time that the hub names when it limits requests."""
    for remaining in reversed(range(TRIES)):
        try:
            return ask()
        except HfHubHTTPError as error:
            if error.response.status_code != 429 or not remaining:
                raise
            wait = _wait(error.response)
            logger.warning("the hub takes no more requests for now (429): asking again in %.0f s", wait)
            time.sleep(wait)
    raise AssertionError("unreachable")


def _wait(response: httpx.Response) -> float:
    """Seconds, by the headers that the hub sends."""
    limit, after = parse_ratelimit_headers(response.headers), response.headers.get("Retry-After", "")
    if limit is not None:
        return min(limit.reset_in_seconds + 1.0, LONGEST_WAIT)
    return min(float(after), LONGEST_WAIT) if after.isdigit() else WAIT


def _remote_file(file: RepoSibling) -> RemoteFile:
    if file.lfs:
        return RemoteFile(name=file.rfilename, size=file.lfs.size, sha256=file.lfs.sha256)
    return RemoteFile(name=file.rfilename, size=file.size or 0, blob=file.blob_id)


def _exactly(name: str) -> str:
    """A pattern for fnmatch that matches only `name`."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
