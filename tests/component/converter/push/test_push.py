"""Pushing a merged model: an image whose layers, unpacked, are the folder; a hub's own upload."""

import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from click.testing import CliRunner
from fake_registry import FakeRegistry, fake_registry

from finetune_converter import cli
from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.push.image import digest_of
from finetune_converter.push.push import push_model
from finetune_converter.push.stage import push_run

GOLDEN = Path(__file__).parents[3] / "golden/run"


@pytest.fixture
def model(base: Path, adapter: Callable[..., Path]) -> Path:
    merge_folders(base=base, adapter=adapter(), out=base.parent / "out", dtype=Dtype.BASE, workers=1)
    return base.parent / "out"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    with fake_registry() as server:
        (tmp_path / "docker").mkdir()
        login = {"auths": {server.host: {"username": "user", "password": "pass"}}}
        (tmp_path / "docker/config.json").write_text(json.dumps(login))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
        yield server


def test_the_image_unpacks_to_the_folder(model: Path, registry: FakeRegistry, tmp_path: Path) -> None:
    arguments = ["push", f"--model={model}", f"--to=oci://{registry.host}/acme/faq:v1"]
    result = CliRunner().invoke(cli.convert, arguments, catch_exceptions=False)
    manifest = registry.manifests["v1"]
    assert result.output.strip().splitlines()[-1] == f"{registry.host}/acme/faq@{digest_of(manifest)}"
    content = json.loads(manifest)
    config = json.loads(registry.blobs[content["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in content["layers"]]
    for layer in content["layers"]:
        blob = registry.blobs[layer["digest"]]
        assert len(blob) == layer["size"]
        with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
            archive.extractall(tmp_path / "mounted", filter="data")
    mounted = {file.name: file.read_bytes() for file in (tmp_path / "mounted").iterdir()}
    assert mounted == {file.name: file.read_bytes() for file in model.iterdir()}


def test_a_second_push_sends_nothing_again(model: Path, registry: FakeRegistry) -> None:
    to = f"oci://{registry.host}/acme/faq:v1"
    first = push_model(model, to)
    sent = registry.uploads
    assert push_model(model, to) == first
    assert registry.uploads == sent


def test_the_stage_of_a_run_pushes_once(
    model: Path, registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads((GOLDEN / "671b.json").read_text())
    document["export"]["push"]["uri"] = f"oci://{registry.host}/acme/faq:v1"
    (tmp_path / "run.json").write_text(json.dumps(document))
    run = tmp_path / document["paths"]["run"]
    run.mkdir(parents=True)
    model.rename(run / "merged")
    # As a Secret's key comes into a pod, which has no home.
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", (tmp_path / "docker/config.json").read_text())
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nowhere"))
    push_run(tmp_path / "run.json", tmp_path)
    place = json.loads((run / "pushed.json").read_text())["place"]
    assert place == f"{registry.host}/acme/faq@{digest_of(registry.manifests.pop('v1'))}"
    push_run(tmp_path / "run.json", tmp_path)
    assert not registry.manifests


@pytest.mark.parametrize(
    ("to", "exit_code", "says"),
    [
        pytest.param("gs://bucket/prefix", 2, "none of oci://", id="unknown scheme"),
        pytest.param("oci://Registry With Spaces", 2, "oci://host/repository:tag", id="no reference"),
        pytest.param("oci://127.0.0.1:1/acme/faq", 11, "acme/faq", id="nobody there"),
    ],
)
def test_where_it_cannot_go(model: Path, to: str, exit_code: int, says: str) -> None:
    with pytest.raises(Failure) as caught:
        push_model(model, to)
    assert caught.value.exit_code == exit_code
    assert says in str(caught.value)


def test_without_credentials(model: Path, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(model))
    with pytest.raises(Failure, match="docker login") as caught:
        push_model(model, f"oci://{registry.host}/acme/faq:v1")
    assert caught.value.exit_code == 2
    assert not registry.manifests


def test_a_folder_that_is_not_its_manifest(model: Path, registry: FakeRegistry) -> None:
    (model / "config.json").write_text("{}")
    with pytest.raises(Failure, match="not the file"):
        push_model(model, f"oci://{registry.host}/acme/faq:v1")
    assert not registry.blobs


def test_a_hub_gets_the_manifests_files(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, object]]] = []

    class Hub:
        def create_repo(self, repository: str, **options: object) -> None:
            calls.append((repository, options))

        def upload_folder(self, **options: object) -> SimpleNamespace:
            calls.append(("upload", options))
            return SimpleNamespace(commit_url="https://hub/acme/faq/commit/1")

    monkeypatch.setattr("finetune_converter.push.push.HfApi", Hub)
    (model / "stray").write_text("not in the manifest")
    assert push_model(model, "hf://acme/faq") == "https://hub/acme/faq/commit/1"
    assert calls[0] == ("acme/faq", {"private": True, "exist_ok": True})
    sent = calls[1][1]["allow_patterns"]
    assert isinstance(sent, list)
    assert set(sent) == {file.name for file in model.iterdir()} - {"stray"}


class _Bucket(BaseHTTPRequestHandler):
    """As much of S3 as an upload of small files needs."""

    objects: ClassVar[dict[str, tuple[bytes, str]]] = {}
    puts: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        found = self.objects.get(self.path)
        self.send_response(200 if found else 404)
        if found:
            self.send_header("x-amz-meta-sha256", found[1])
        self.end_headers()

    def do_PUT(self) -> None:
        if "AWS4-HMAC-SHA256 Credential=key/" not in self.headers.get("Authorization", ""):
            self.send_response(403)
        else:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            self.objects[self.path] = content, self.headers["x-amz-meta-sha256"]
            self.puts.append(self.path)
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Bucket]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Bucket)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    settings = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}
    settings |= {"REQUEST_CHECKSUM_CALCULATION": "when_required", "MAX_ATTEMPTS": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    _Bucket.objects.clear()
    _Bucket.puts.clear()
    yield _Bucket
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_bucket_gets_every_file_once_and_the_manifest_last(model: Path, bucket: type[_Bucket]) -> None:
    assert push_model(model, "s3://acme/models/faq") == "s3://acme/models/faq"
    expected = {f"/acme/models/faq/{file.name}": file.read_bytes() for file in model.iterdir()}
    assert {path: content for path, (content, _) in bucket.objects.items()} == expected
    assert bucket.puts[-1] == "/acme/models/faq/MANIFEST.json"
    sent = len(bucket.puts)
    push_model(model, "s3://acme/models/faq")
    assert len(bucket.puts) == sent


def test_a_bucket_that_refuses(model: Path, bucket: type[_Bucket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    with pytest.raises(Failure) as caught:
        push_model(model, "s3://acme/models/faq")
    assert caught.value.exit_code == 2
    assert not bucket.objects
