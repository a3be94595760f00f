"""The Hugging Face hub as a source. HF_ENDPOINT and HF_TOKEN are honoured."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

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
from huggingface_hub.utils.tqdm import disable_progress_bars

from finetune_trainer.contract.failure import CommunicationError, ConfigurationError, Failure, Reason
from finetune_trainer.prepare.source import Listing, RemoteFile

Kind = Literal["model", "dataset"]


class HubSource:
    """A repository of the hub at a revision."""

    def __init__(self, repository: str, revision: str | None, kind: Kind) -> None:
        self.uri = f"hf://{repository}"
        self.repository = repository
        self.revision = revision
        self.kind = kind
        self._endpoint = os.environ.get("HF_ENDPOINT")
        # False: without a token of the job's, none of this machine's user either.
        self._token: str | bool = os.environ.get("HF_TOKEN") or False
        disable_progress_bars()

    def list_files(self) -> Listing:
        api = HfApi(endpoint=self._endpoint, token=self._token)
        info_of = api.model_info if self.kind == "model" else api.dataset_info
        with self._failures():
            info = info_of(self.repository, revision=self.revision, files_metadata=True)
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
        return CommunicationError(
            f"{self.uri}: the hub cannot be reached ({_first_line(error)})",
            Reason.SOURCE_UNREACHABLE,
            remedy="The next attempt goes on from what was fetched; check the network and HF_ENDPOINT",
        )


def _remote_file(file: RepoSibling) -> RemoteFile:
    if file.lfs:
        return RemoteFile(name=file.rfilename, size=file.lfs.size, sha256=file.lfs.sha256)
    return RemoteFile(name=file.rfilename, size=file.size or 0, blob=file.blob_id)


def _exactly(name: str) -> str:
    """A pattern for fnmatch that matches only `name`."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
