"""The OCI distribution API, as far as pushing needs it (distribution-spec v1.1)."""

import base64
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx

from finetune_converter.failure import Failure, Reason
from finetune_converter.push.image import MANIFEST_TYPE, Blob

_REFERENCE = re.compile(
    r"(?P<host>[\w.-]+(:\d+)?)/(?P<repository>[a-z0-9._/-]+?)(:(?P<tag>\w[\w.-]{0,127}))?"
)
_LOCAL = re.compile(r"(localhost|127\.0\.0\.1)(:\d+)?")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """host/repository:tag."""

    host: str
    repository: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Raises Failure(SettingInvalid)."""
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise Failure(
                f"--to: oci://{text} is not oci://host/repository:tag", Reason.SETTING_INVALID, "Correct it"
            )
        return cls(host=match["host"], repository=match["repository"], tag=match["tag"] or "latest")


class Registry:
    """One repository of a registry. Raises Failure(PushForbidden or PushFailed)."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        scheme = "http" if _LOCAL.fullmatch(reference.host) else "https"
        self._root = f"{scheme}://{reference.host}/v2/"
        self._where = f"oci://{reference.host}/{reference.repository}"
        self._client = httpx.Client(timeout=httpx.Timeout(60, write=600), follow_redirects=True)

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def put_blob(self, blob: Blob, chunks: Callable[[], Iterable[bytes]]) -> bool:
        """Upload it unless it is there; whether it had to be."""
        self._authorize()
        url = f"{self._root}{self._reference.repository}/blobs/"
        if self._send("HEAD", f"{url}{blob.digest}", missing=True).status_code == 200:
            return False
        session = self._send("POST", f"{url}uploads/")
        place = urljoin(str(session.url), session.headers.get("location", ""))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        parameters = httpx.URL(place).params.merge({"digest": blob.digest})
        self._send("PUT", str(httpx.URL(place, params=parameters)), content=chunks(), headers=headers)
        return True

    def put_manifest(self, content: bytes) -> None:
        url = f"{self._root}{self._reference.repository}/manifests/{self._reference.tag}"
        self._send("PUT", url, content=content, headers={"Content-Type": MANIFEST_TYPE})

    def _send(
        self,
        method: str,
        url: str,
        *,
        content: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
        missing: bool = False,
    ) -> httpx.Response:
        try:
            answer = self._client.request(method, url, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise self._failed(f"{method}: {error}") from error
        if answer.is_success or (missing and answer.status_code == 404):
            return answer
        if answer.status_code in (401, 403):
            raise Failure(
                f"{self._where}: may not be written ({answer.status_code})",
                Reason.PUSH_FORBIDDEN,
                "Give credentials in export.push.credentialsSecretRef, or as `docker login` writes them",
            )
        raise self._failed(f"{method}: {answer.status_code} {answer.text[:200]}")

    def _failed(self, what: str) -> Failure:
        return Failure(
            f"{self._where}: {what}",
            Reason.PUSH_FAILED,
            "Run the same command again: layers that are there are not sent twice",
        )

    def _authorize(self) -> None:
        """A token lives minutes and a layer may take as long: one for every layer."""
        self._client.headers.pop("Authorization", None)
        try:
            answer = self._client.get(self._root)
            if answer.status_code != 401:
                return
            challenge, login = answer.headers.get("www-authenticate", ""), _login(self._reference.host)
            if not challenge.lower().startswith("bearer"):
                self._client.headers.update({"Authorization": f"Basic {login}"} if login else {})
                return
            fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
            query = {"scope": f"repository:{self._reference.repository}:pull,push"}
            query |= {"service": fields["service"]} if "service" in fields else {}
            headers = {"Authorization": f"Basic {login}"} if login else {}
            token = self._client.get(fields.get("realm", ""), params=query, headers=headers)
        except httpx.HTTPError as error:
            raise self._failed(str(error)) from error
        if token.is_success:
            found = token.json()
            self._client.headers["Authorization"] = (
                f"Bearer {found.get('token') or found.get('access_token')}"
            )


def _login(host: str) -> str | None:
    """base64 of user:password: of $DOCKER_AUTH_CONFIG, as docker has it, or where `docker login` keeps it."""
    folder = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker"))
    try:
        content = os.environ.get("DOCKER_AUTH_CONFIG") or (folder / "config.json").read_text(encoding="utf-8")
        entry = json.loads(content)["auths"][host]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if "auth" in entry:
        return str(entry["auth"])
    return base64.b64encode(f"{entry.get('username')}:{entry.get('password')}".encode()).decode()
