"""A merged model in a registry as CNCF ModelPack's artifact: the files themselves, under its types."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from fake_registry import FakeRegistry, fake_registry

from finetune_converter import cli
from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.push.image import digest_of
from finetune_converter.push.modelpack import layer_type
from finetune_converter.push.push import OciFormat, push_model
from finetune_converter.signing.model_signature import sign_folder
from finetune_converter.verify.listing import check_listing

WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
WEIGHT_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
DOC = "application/vnd.cncf.model.doc.v1.raw"


@pytest.fixture
def model(base: Path, adapter: Callable[..., Path]) -> Path:
    merge_folders(base=base, adapter=adapter(), out=base.parent / "out", dtype=Dtype.BFLOAT16, workers=1)
    sign_folder(base.parent / "out", ec.generate_private_key(ec.SECP256R1()))
    return base.parent / "out"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    with fake_registry() as server:
        login = {"auths": {server.host: {"username": "user", "password": "pass"}}}
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps(login))
        yield server


def test_its_layers_are_the_folders_files(model: Path, registry: FakeRegistry, tmp_path: Path) -> None:
    arguments = ["push", f"--model={model}", f"--to=oci://{registry.host}/acme/faq:v1", "--format=modelpack"]
    result = CliRunner().invoke(cli.convert, arguments, catch_exceptions=False)
    manifest = registry.manifests["v1"]
    assert result.output.strip().splitlines()[-1] == f"{registry.host}/acme/faq@{digest_of(manifest)}"
    content = json.loads(manifest)
    assert content["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert content["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    pulled = tmp_path / "pulled"
    pulled.mkdir()
    for layer in content["layers"]:
        name, blob = layer["annotations"]["org.cncf.model.filepath"], registry.blobs[layer["digest"]]
        assert (len(blob), layer["mediaType"]) == (layer["size"], layer_type(name))
        (pulled / name).write_bytes(blob)
    assert {file.name for file in pulled.iterdir()} == {file.name for file in model.iterdir()}
    assert check_listing(pulled) == check_listing(model)


def test_its_configuration(model: Path, registry: FakeRegistry) -> None:
    push_model(model, f"oci://{registry.host}/acme/faq:v1", OciFormat.MODELPACK)
    content = json.loads(registry.manifests["v1"])
    assert content["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    config = json.loads(registry.blobs[content["config"]["digest"]])
    assert config["config"] == {
        "architecture": "transformer",
        "format": "safetensors",
        "precision": "bfloat16",
        "capabilities": {"inputTypes": ["text"], "outputTypes": ["text"]},
    }
    assert config["descriptor"]["family"] == "deepseek_v3"
    assert config["modelfs"] == {
        "type": "layers",
        "diffIds": [layer["digest"] for layer in content["layers"]],
    }


def test_a_second_push_sends_nothing_again(model: Path, registry: FakeRegistry) -> None:
    to = f"oci://{registry.host}/acme/faq:v1"
    first = push_model(model, to, OciFormat.MODELPACK)
    sent = registry.uploads
    assert push_model(model, to, OciFormat.MODELPACK) == first
    assert registry.uploads == sent


def test_only_a_registry_holds_artifacts(model: Path) -> None:
    with pytest.raises(Failure, match="--format: modelpack is for oci:// alone"):
        push_model(model, "s3://bucket/faq", OciFormat.MODELPACK)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model-00001-of-00002.safetensors", WEIGHT),
        ("config.json", WEIGHT_CONFIG),
        ("model.safetensors.index.json", WEIGHT_CONFIG),
        ("tokenizer.json", WEIGHT_CONFIG),
        ("chat_template.jinja", WEIGHT_CONFIG),
        ("MANIFEST.json", WEIGHT_CONFIG),
        ("model.sig", WEIGHT_CONFIG),
        ("README.md", DOC),
        ("BASE_README.md", DOC),
        ("LICENSE", DOC),
        ("NOTICE.txt", DOC),
    ],
)
def test_the_type_of_a_file(name: str, expected: str) -> None:
    assert layer_type(name) == expected
