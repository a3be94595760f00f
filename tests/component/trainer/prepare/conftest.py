"""A whole base of flavour tiny_lora, a local server that speaks the hub's API, and a local S3."""

import dataclasses
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow
import pytest
import torch
from hub_server import HubServer
from moto.server import ThreadedMotoServer
from pyarrow import parquet
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from finetune_trainer.model.base_loader import frozen_tensors
from finetune_trainer.model.flavors import FLAVORS, build_model_config
from finetune_trainer.model.names import CheckpointNames

GOLDEN = Path(__file__).parents[3] / "golden" / "run" / "quickstart.json"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CHAT = {"messages": [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B"}]}


@pytest.fixture(scope="session")
def pristine_base(tmp_path_factory) -> Path:
    """Two shards of zeros in bfloat16 with an index, as published checkpoints are."""
    folder = tmp_path_factory.mktemp("pristine")
    config = build_model_config("tiny_lora", device="cpu")
    with torch.device("meta"):
        model = config.build()
    names, tensors = CheckpointNames.of(config), {}
    for name, tensor in frozen_tensors(model):
        parts = names.tensors(name, num_experts=tensor.shape[0])
        shape = tensor.shape if len(parts) == 1 else tensor.shape[1:]
        tensors |= {part: torch.zeros(shape, dtype=torch.bfloat16) for part in parts}
    _write_shards(folder, tensors)
    _write_description(folder)
    return folder


def _write_shards(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    ordered = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((ordered[::2], ordered[1::2]), start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )


def _write_description(folder: Path) -> None:
    fields = dataclasses.asdict(FLAVORS["tiny_lora"].shape)
    fields |= {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"]}
    fields["num_key_value_heads"] = fields["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(fields))
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(name, special=True) for name in ("<bos>", "<eos>", "<|user|>", "<|assistant|>")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [], BpeTrainer(special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    special_tokens = {"bos_token": "<bos>", "eos_token": "<eos>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(special_tokens))


class Volume:
    """A volume with a run file for it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.document = json.loads(GOLDEN.read_text())
        self.base = root / self.document["paths"]["base"]
        self.dataset = root / self.source["path"]
        self.run = root / self.document["paths"]["run"]
        self.write_chats(3)

    @property
    def source(self) -> dict[str, Any]:
        """The run file's one source."""
        (source,) = self.document["dataset"]["sources"]
        return source

    def write_chats(self, count: int) -> None:
        self.dataset.parent.mkdir(parents=True, exist_ok=True)
        self.dataset.write_text(f"{json.dumps(CHAT)}\n" * count)

    @property
    def run_file(self) -> Path:
        file = self.root / "run.json"
        file.write_text(json.dumps(self.document))
        return file

    @property
    def arguments(self) -> list[str]:
        return ["--run", str(self.run_file), "--root", str(self.root)]


@pytest.fixture
def volume(tmp_path, monkeypatch) -> Volume:
    monkeypatch.setenv("FINETUNE_TERMINATION_LOG", str(tmp_path / "termination-log"))
    monkeypatch.setenv("FINETUNE_PROGRESS_PORT", "0")
    return Volume(tmp_path / "volume")


@pytest.fixture
def copy_base(pristine_base, volume):
    """Put the base into the volume, in a form that a test may damage."""

    def copy() -> Path:
        shutil.copytree(pristine_base, volume.base)
        return volume.base

    return copy


@pytest.fixture
def hub(monkeypatch) -> Iterator[HubServer]:
    server = HubServer()
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    with server:
        yield server


@pytest.fixture
def hub_base(hub, pristine_base, volume) -> HubServer:
    """The base on the hub as acme/tiny, with files that must not be fetched, and a run that wants it."""
    files = {file.name: file.read_bytes() for file in pristine_base.iterdir()}
    unwanted = {"pytorch_model.bin": b"pickle", "modeling.py": b"code", "onnx/model.json": b"{}"}
    hub.add("acme/tiny", files | unwanted)
    volume.document["model"] = {"uri": "hf://acme/tiny", "revision": "main", "verify": True}
    volume.document["paths"]["base"] = "models/acme--tiny@main"
    volume.base = volume.root / "models/acme--tiny@main"
    return hub


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch) -> Any:
    """An empty bucket "weights" and a client of it."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="weights")
    yield client
    for entry in client.list_objects_v2(Bucket="weights").get("Contents", []):
        client.delete_object(Bucket="weights", Key=entry["Key"])
    client.delete_bucket(Bucket="weights")


@pytest.fixture
def as_parquet() -> Callable[[bytes], bytes]:
    """JSON lines as a parquet file."""

    def convert(lines: bytes) -> bytes:
        buffer = io.BytesIO()
        rows = [json.loads(line) for line in lines.splitlines()]
        parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
        return buffer.getvalue()

    return convert


@pytest.fixture
def checksum():
    return lambda file: hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def _own_hub_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert "HF_HUB_OFFLINE" not in os.environ
