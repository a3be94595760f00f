"""transformers and vLLM load every dtype that the merge writes, as far as they run on a CPU.

What they cannot run here is asserted too, by the error that says why: a test that starts to fail then tells
that it can be tested now.
"""

import json
import logging
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from family_chain import NAMES, FamilyChain
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM, PreTrainedModel
from vllm_server import ENVIRONMENT, PYTHON

from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

pytestmark = pytest.mark.chain
RANK, NEW_TOKENS = 8, 8
PROMPTS = [[1, 7, 300, 42], [2, 90, 17, 5, 80, 3]]
FLOAT8_BASE = "float8 base"


def targets(names: Iterable[str]) -> dict[str, list[str]]:
    """As PEFT takes them: experts by their modules' names, dense and shared MLPs by their parameters'."""
    modules = {name.rsplit(".", 2)[0].removeprefix("base_model.model.") for name in names}
    mlps = {module for module in modules if ".mlp." in module and ".experts." not in module}
    return {
        "target_modules": sorted({module.rpartition(".")[2] for module in modules - mlps}),
        "target_parameters": sorted({f"{module.rpartition('.')[2]}.weight" for module in mlps}),
    }


def write_adapter(base: Path, folder: Path) -> Path:
    """Of every projection of the layers that are trained."""
    torch.manual_seed(0)
    layers = json.loads((base / "config.json").read_text())["num_hidden_layers"]
    tensors = {}
    for file in sorted(base.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            trained = any(name.startswith(f"model.layers.{layer}.") for layer in range(layers))
            if trained and tensor.ndim == 2 and "_proj" in name and not name.endswith("_scale_inv"):
                module = f"base_model.model.{name.removesuffix('.weight')}"
                tensors[f"{module}.lora_A.weight"] = torch.randn(RANK, tensor.shape[1]) * 0.05
                tensors[f"{module}.lora_B.weight"] = torch.randn(tensor.shape[0], RANK) * 0.05
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK}
    (folder / "adapter_config.json").write_text(json.dumps({**config, **targets(tensors)}))
    return folder


def merged(base: Path, adapter: Path, out: Path, dtype: Dtype) -> Path:
    merge_folders(base=base, adapter=adapter, out=out, dtype=dtype, workers=1)
    verify_folders(base=base, adapter=adapter, merged=out, dtype=dtype)
    return out


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tiny_base, tmp_path_factory.mktemp("loads") / "adapter")


@pytest.fixture(scope="module")
def float8(tiny_base: Path, adapter: Path) -> Path:
    """The tiny base, merged into FP8; a base in FP8 for what follows."""
    return merged(tiny_base, adapter, adapter.with_name("float8"), Dtype.FLOAT8)


@pytest.fixture(scope="module")
def plain(tiny_base: Path, adapter: Path, float8: Path) -> dict[str, Path]:
    """Every output whose weights are not FP8; bfloat16 of this base is `base`."""
    folders = {
        str(dtype): merged(tiny_base, adapter, adapter.with_name(str(dtype)), dtype)
        for dtype in (Dtype.BASE, Dtype.FLOAT16)
    }
    of_float8 = merged(float8, adapter, adapter.with_name("bfloat16-of-float8"), Dtype.BFLOAT16)
    return {**folders, FLOAT8_BASE: of_float8}


@pytest.fixture(scope="module")
def vllm(plain: dict[str, Path], float8: Path, families: dict[str, FamilyChain]) -> dict[str, Any]:
    """What vLLM makes of each: tokens, or an error. One process, as it takes longest to import."""
    folders = plain | {name: chain.merged for name, chain in families.items()}
    models = [{"folder": str(folder), "dtype": "float32"} for folder in folders.values()]
    models.append({"folder": str(float8), "dtype": "auto"})
    run = subprocess.run(
        [PYTHON, Path(__file__).with_name("vllm_models.py")],
        input=json.dumps({"models": models, "prompts": PROMPTS, "new_tokens": NEW_TOKENS}),
        env=os.environ | ENVIRONMENT | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return dict(zip([*folders, "float8"], json.loads(run.stdout.splitlines()[-1]), strict=True))


def load(folder: Path) -> DeepseekV3ForCausalLM:
    """Every weight that the model has is in the files, and fits; the MTP layer is left over."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
    )
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    assert all(name.startswith("model.layers.4.") for name in info["unexpected_keys"])
    return model.eval()


@pytest.mark.parametrize("name", [Dtype.BASE, Dtype.FLOAT16, FLOAT8_BASE])
def test_vllm_answers_with_the_tokens_of_transformers(
    plain: dict[str, Path], vllm: dict[str, Any], name: str
) -> None:
    assert_answers(load(plain[str(name)]), vllm[str(name)])


@pytest.mark.parametrize("name", NAMES)
def test_vllm_answers_with_the_tokens_of_transformers_for_every_family(
    families: dict[str, FamilyChain], vllm: dict[str, Any], name: str
) -> None:
    base = families[name].base.model
    model = type(base).from_pretrained(families[name].merged, config=base.config, dtype=torch.float32)
    assert_answers(model.eval(), vllm[name])


def assert_answers(model: PreTrainedModel, answers: list[list[int]]) -> None:
    """The greedy tokens after each prompt."""
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
        assert logits[len(prompt) - 1 : -1].argmax(-1).tolist() == answer


def test_vllm_serves_float8_where_the_cpu_has_amx(vllm: dict[str, Any]) -> None:
    """It reads config and quantisation on every CPU, and has kernels for FP8 where there is AMX."""
    if torch.cpu._is_amx_tile_supported():
        assert [0 < len(answer) <= NEW_TOKENS for answer in vllm["float8"]] == [True] * len(PROMPTS)
    else:
        assert "CPUFp8BlockScaledMMKernel requires AMX tile support" in vllm["float8"]


def test_float8_of_ragged_blocks_is_beyond_transformers(
    float8: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kv_a_proj_with_mqa has 576 rows, as DeepSeek-V3's own: its published FP8 files fail the same way."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    with pytest.raises(RuntimeError, match="automatic conversion of the weights"):
        AutoModelForCausalLM.from_pretrained(float8, dtype=torch.float32)
    assert "Weight shape (576, 256) not divisible by scale grid (5, 2)" in caplog.text


def test_float8_of_whole_blocks_loads_in_transformers(tmp_path: Path) -> None:
    """A model of the same architecture whose every matrix is whole blocks: transformers reads our FP8."""
    torch.manual_seed(0)
    config = DeepseekV3Config(
        vocab_size=512,
        hidden_size=256,
        num_hidden_layers=2,
        first_k_dense_replace=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        q_lora_rank=128,
        kv_lora_rank=128,
        qk_nope_head_dim=64,
        qk_rope_head_dim=128,
        v_head_dim=64,
        intermediate_size=256,
        moe_intermediate_size=128,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=2,
        topk_group=1,
    )
    DeepseekV3ForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    adapter = write_adapter(tmp_path / "base", tmp_path / "adapter")
    folders = [
        merged(tmp_path / "base", adapter, tmp_path / f"merged-{dtype}", dtype)
        for dtype in (Dtype.BASE, Dtype.FLOAT8)
    ]
    plain, quantized = (load(folder).state_dict() for folder in folders)
    for name, weight in plain.items():
        assert (quantized[name] - weight).norm() <= 0.04 * weight.norm(), name
