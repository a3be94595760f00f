"""Adapters of real vLLM while it runs, by the operator's own arguments: added, replaced, removed, refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from vllm_server import VllmServer, vllm_server
from waiting import until

from finetune_operator.serving.children.adapters import adapter_args
from finetune_operator.serving.model import ServedModel
from finetune_operator.serving.served_adapters import __file__ as program

pytestmark = pytest.mark.chain

HIDDEN, RANK = 128, 16
PROMPT = "How do I suspend a job, and how do I go on with it?"


@pytest.fixture(scope="module")
def root(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense model, as vLLM serves no adapters of experts on a CPU, and two adapters of it."""
    root = tmp_path_factory.mktemp("volume")
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    sizes = {"hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN, "vocab_size": len(tokenizer)}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}
    torch.manual_seed(0)
    config = LlamaConfig(**sizes, **heads, max_position_embeddings=512)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    for name in ("first", "second"):
        _adapter(root / name)
    _adapter(root / "higher", rank=2 * RANK)
    return root


def _adapter(folder: Path, rank: int = RANK) -> None:
    folder.mkdir()
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    shapes = {"lora_A": (rank, HIDDEN), "lora_B": (HIDDEN, rank)}
    tensors = {f"{prefix}.{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 4 * rank, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the ConfigMap is mounted."""
    folder = tmp_path_factory.mktemp("adapters")
    (folder / "served_adapters.py").write_text(Path(program).read_text())
    (folder / "adapters.json").write_text('[{"name": "tone", "path": "first"}]')
    return folder


@pytest.fixture(scope="module")
def adapted(root: Path, folder: Path) -> Iterator[VllmServer]:
    arguments = adapter_args(ServedModel(path="base", claim="models", lora_rank=RANK))
    with (
        pytest.MonkeyPatch.context() as environment,
        vllm_server_of(environment, root, folder, arguments) as running,
    ):
        yield running


def vllm_server_of(
    environment: pytest.MonkeyPatch, root: Path, folder: Path, arguments: tuple[str, ...]
) -> Any:
    environment.setenv("PYTHONPATH", str(folder))
    environment.setenv("ADAPTERS_ROOT", str(root))
    return vllm_server(root / "base", root / "log", "--dtype", "bfloat16", *arguments, attention=None)


def want(folder: Path, **paths: str) -> None:
    wanted = [{"name": name, "path": path} for name, path in paths.items()]
    (folder / "adapters.json").write_text(json.dumps(wanted))


def told(server: VllmServer) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{server.url}/adapters", trust_env=False).json()
    return answer


def logprob(server: VllmServer, model: str) -> float:
    body = {"model": model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0, "logprobs": 1}
    (choice,) = server.post("/v1/completions", body)["choices"]
    return float(choice["logprobs"]["token_logprobs"][0])


def test_they_come_change_and_go_while_the_server_runs(adapted: VllmServer, folder: Path) -> None:
    # There from the first request on.
    base, first = logprob(adapted, "model"), logprob(adapted, "tone")
    assert base != first

    want(folder, tone="second", other="first")
    has = [{"name": "tone", "path": "second"}, {"name": "other", "path": "first"}]
    until("the second", lambda: told(adapted) == {"adapters": has, "refused": []})
    assert logprob(adapted, "other") == pytest.approx(first, abs=0.02)
    assert logprob(adapted, "tone") not in (base, first)
    assert logprob(adapted, "model") == pytest.approx(base, abs=0.02)

    want(folder, other="first", higher="higher")
    (refused,) = until("what is refused", lambda: told(adapted)["refused"])
    assert refused["name"] == "higher"
    assert "rank" in refused["message"]
    assert told(adapted)["adapters"] == [{"name": "other", "path": "first"}]
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        logprob(adapted, "tone")


def test_clients_load_nothing(adapted: VllmServer, root: Path) -> None:
    for path in ("/v1/load_lora_adapter", "/adapters"):
        asked = {"lora_name": "mine", "lora_path": str(root / "first"), "name": "mine", "src": "first"}
        answer = httpx.post(f"{adapted.url}{path}", json=asked, trust_env=False)
        assert answer.status_code in (404, 405)
    assert "mine" not in {each["name"] for each in told(adapted)["adapters"]}
