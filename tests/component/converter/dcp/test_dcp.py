"""torchtitan's checkpoints: written by torch.distributed.checkpoint itself, read without its pickles."""

import json
import os
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from click.testing import CliRunner
from safetensors.torch import save_file
from small_deepseek import load_json, load_model
from torchtitan.models.deepseek_v3 import model_registry
from torchtitan.models.deepseek_v3.state_dict_adapter import DeepSeekV3StateDictAdapter

from finetune_converter import cli
from finetune_converter.dcp.export import export_dcp
from finetune_converter.dcp.folder import DcpFolder
from finetune_converter.dcp.merged import merge_dcp
from finetune_converter.dcp.names import hf_names
from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

# One process, no process group: torch warns, and that is meant here.
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
LAYERS, EXPERTS = 2, 4
Tensors = dict[str, torch.Tensor]


def titan(model: Tensors) -> Tensors:
    """A Hugging Face model under torchtitan's names, its experts stacked, and what else a step folder has."""
    table = DeepSeekV3StateDictAdapter(model_registry("671B").model, None).from_hf_map
    stacked: dict[str, dict[int, torch.Tensor]] = {}
    names = {
        hf.replace("{}", str(layer), 1): t.format(layer) for hf, t in table.items() for layer in range(LAYERS)
    }
    names |= {
        n.replace("{}", str(e)): f"{t}#{e}" for n, t in names.items() for e in range(EXPERTS) if "{}" in n
    }
    result: Tensors = {}
    for name, tensor in model.items():
        target, _, expert = names.get(name, "?").partition("#")
        if expert:
            stacked.setdefault(target, {})[int(expert)] = tensor.float()
        else:
            result[target] = tensor.float()
    return result | {name: torch.stack([of[e] for e in range(EXPERTS)]) for name, of in stacked.items()}


def save(state: Tensors, folder: Path) -> Path:
    optimizer = {"optimizer.state.norm.weight.step": torch.tensor(3.0)}
    dcp.save({**state, **optimizer, "train_state": {"step": 3}}, checkpoint_id=folder, no_dist=True)
    return folder


def test_names_are_torchtitans_own() -> None:
    table = DeepSeekV3StateDictAdapter(model_registry("671B").model, None).from_hf_map
    for hf, name in table.items():
        expected = hf.replace("{}", "7", 1).format(3)
        assert [*hf_names(name.format(7), EXPERTS, LAYERS)][3 if "{}" in hf.replace("{}", "", 1) else 0][
            0
        ] == expected


def test_a_whole_model(base: Path, tmp_path: Path) -> None:
    before = load_model(base)
    trained = {name: tensor + 0.25 for name, tensor in before.items()}
    step = save(titan(trained), tmp_path / "step-3")
    out = tmp_path / "model"
    arguments = ["from-dcp", f"--checkpoint={step}", f"--base={base}", f"--out={out}"]
    result = CliRunner().invoke(cli.convert, arguments, catch_exceptions=False)
    assert result.output == f"model: {out}\n"
    after = load_model(out)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], trained[name].to(before[name].dtype)) for name in before)
    assert load_json(out / "config.json")["hidden_size"] == 128


def test_lora_keys_become_an_adapter_that_merges(
    base: Path, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    expected = adapter(target_modules=["o_proj", "q_b_proj"])
    tensors = load_model(expected)
    lora = {}
    for name, tensor in tensors.items():
        layer, module, side = name.split(".")[4], name.split(".")[6], name.split(".")[7]
        titan_name = {"o_proj": "wo", "q_b_proj": "wq_b"}[module]
        lora[f"layers.{layer}.attention.{titan_name}.{side.lower()}.weight"] = tensor
    step = save(titan(load_model(base)) | lora, tmp_path / "step-3")
    with pytest.raises(Failure, match="--alpha missing"):
        export_dcp(checkpoint=step, base=base, out=tmp_path / "none", alpha=None)
    assert export_dcp(checkpoint=step, base=base, out=tmp_path / "lora", alpha=8) == "adapter"
    ours = load_model(tmp_path / "lora")
    assert ours.keys() == tensors.keys()
    assert all(torch.equal(ours[name], tensors[name]) for name in tensors)
    merge_folders(base=base, adapter=tmp_path / "lora", out=tmp_path / "out", dtype=Dtype.BASE, workers=1)
    verify_folders(base=base, adapter=tmp_path / "lora", merged=tmp_path / "out", dtype=Dtype.BASE)


def lora_of(adapter: Path) -> Tensors:
    """Its matrices under torchtitan's names."""
    names = {"o_proj": "wo", "q_b_proj": "wq_b"}
    parts = {name: name.split(".") for name in load_model(adapter)}
    return {
        f"layers.{parts[name][4]}.attention.{names[parts[name][6]]}.{parts[name][7].lower()}.weight": tensor
        for name, tensor in load_model(adapter).items()
    }


def test_lora_keys_to_a_merged_model_in_one_command(
    base: Path, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    expected = adapter(target_modules=["o_proj", "q_b_proj"])
    step = save(titan(load_model(base)) | lora_of(expected), tmp_path / "step-3")
    arguments = ["from-dcp", f"--checkpoint={step}", f"--base={base}", f"--out={tmp_path / 'out'}"]
    arguments += ["--merge", "--alpha=8", "--dtype=bfloat16"]
    result = CliRunner().invoke(cli.convert, arguments, catch_exceptions=False)
    out = tmp_path / "out"
    assert result.output == f"merged and verified: {out} (its adapter: {out}.adapter)\n"
    merge_folders(base=base, adapter=expected, out=tmp_path / "own", dtype=Dtype.BFLOAT16, workers=1)
    ours, own = load_model(tmp_path / "out"), load_model(tmp_path / "own")
    assert all(torch.equal(ours[name], own[name]) for name in own)
    whole = save(titan(load_model(base)), tmp_path / "step-4")
    with pytest.raises(Failure, match="holds no LoRA matrices"):
        merge_dcp(checkpoint=whole, base=base, out=tmp_path / "no", alpha=8, dtype=Dtype.BASE)
    assert (tmp_path / "no.model/config.json").exists()


def of_0_2(state: Tensors) -> Tensors:
    """torchtitan 0.2's names, where they are others."""
    names = {
        "lm_head.weight": "output.weight",
        "moe.expert_bias_E": "moe.expert_bias",
        "moe.routed_experts.inner_experts.w1_EFD": "moe.experts.w1",
        "moe.routed_experts.inner_experts.w2_EDF": "moe.experts.w2",
        "moe.routed_experts.inner_experts.w3_EFD": "moe.experts.w3",
    }
    for new, old in names.items():
        state = {name.replace(new, old) if name.endswith(new) else name: t for name, t in state.items()}
    return state


def compiled(state: Tensors) -> Tensors:
    return {re.sub(r"layers\.(\d+)\.", r"layers.\1._orig_mod.", name): t for name, t in state.items()}


@pytest.mark.parametrize(
    ("rename", "says"),
    [
        pytest.param(of_0_2, "torchtitan 0.2's names", id="0.2"),
        pytest.param(compiled, "torchtitan 0.3's names, of a compiled or wrapped model", id="compiled"),
        pytest.param(lambda state: compiled(of_0_2(state)), "torchtitan 0.2's names, of a", id="both"),
    ],
)
def test_names_of_other_layouts(
    base: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    rename: Callable[[Tensors], Tensors],
    says: str,
) -> None:
    caplog.set_level("INFO")
    before = load_model(base)
    trained = {name: tensor + 0.25 for name, tensor in before.items()}
    step = save(rename(titan(trained)), tmp_path / "step-3")
    assert export_dcp(checkpoint=step, base=base, out=tmp_path / "model", alpha=None) == "model"
    after = load_model(tmp_path / "model")
    assert all(torch.equal(after[name], trained[name].to(before[name].dtype)) for name in before)
    assert says in caplog.text


def test_a_step_in_hugging_faces_format(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As checkpoint.last_save_in_hf writes it: weights and index, no config.json."""
    caplog.set_level("INFO")
    before, step = load_model(base), tmp_path / "step-3"
    step.mkdir()
    trained = {name: (tensor + 0.25).float() for name, tensor in before.items()}
    save_file(trained, step / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(trained, "model-00001-of-00001.safetensors")}
    (step / "model.safetensors.index.json").write_text(json.dumps(index))
    assert export_dcp(checkpoint=step, base=base, out=tmp_path / "model", alpha=None) == "model"
    after = load_model(tmp_path / "model")
    assert all(torch.equal(after[name], trained[name].to(before[name].dtype)) for name in before)
    assert "Hugging Face's format" in caplog.text
    save_file({**trained, "model.extra.weight": torch.ones(1)}, step / "model-00001-of-00001.safetensors")
    with pytest.raises(Failure, match=r"'model\.extra\.weight': .* holds more than it"):
        export_dcp(checkpoint=step, base=base, out=tmp_path / "more", alpha=None)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        pytest.param({"layers.2.attention.wo.weight": torch.ones(2, 2)}, "model.layers.2", id="a layer"),
        pytest.param({"vision.weight": torch.ones(2, 2)}, "'vision.weight'", id="a part"),
        pytest.param({"mtp_layers.0.attention_norm.weight": torch.ones(2)}, "model.layers.2", id="MTP"),
        pytest.param({"output.weight": torch.ones(64, 128)}, "says the same", id="a head of both names"),
    ],
)
@pytest.mark.parametrize("lora", [False, True])
def test_more_than_the_base(
    base: Path, adapter: Callable[..., Path], tmp_path: Path, extra: Tensors, says: str, lora: bool
) -> None:
    matrices = lora_of(adapter(target_modules=["o_proj"])) if lora else {}
    step = save(titan(load_model(base)) | extra | matrices, tmp_path / "step-3")
    with pytest.raises(Failure, match=says) as caught:
        export_dcp(checkpoint=step, base=base, out=tmp_path / "out", alpha=8)
    assert caught.value.exit_code == 3
    assert not list(tmp_path.glob("out*"))


def test_more_experts_than_the_base(base: Path, tmp_path: Path) -> None:
    state = titan(load_model(base))
    name = "layers.1.moe.routed_experts.inner_experts.w1_EFD"
    step = save({**state, name: torch.cat([state[name], state[name]])}, tmp_path / "step-3")
    with pytest.raises(Failure, match="holds 8 experts, the base 4"):
        export_dcp(checkpoint=step, base=base, out=tmp_path / "out", alpha=None)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param(["step-10/.metadata", "step-5/.metadata"], "holds 2 steps", id="the folder of steps"),
        pytest.param(["layer-00.safetensors"], "a checkpoint of this project", id="our own"),
        pytest.param(["adapter_model.safetensors"], "a PEFT adapter", id="an adapter"),
        pytest.param(["sharded/a.safetensors"], "files are not whole", id="half of Hugging Face's"),
        pytest.param([], "no such file", id="nothing"),
    ],
)
def test_what_is_no_step_folder_is_named(base: Path, tmp_path: Path, files: list[str], says: str) -> None:
    step = tmp_path / "step"
    for name in files:
        (step / name).parent.mkdir(parents=True, exist_ok=True)
        (step / name).write_text("")
    with pytest.raises(Failure, match=says):
        export_dcp(checkpoint=step, base=base, out=tmp_path / "out", alpha=None)


class Evil:
    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.ran),)


def test_mlps_are_named_as_peft_takes_them(base: Path, tmp_path: Path) -> None:
    """By their parameters: as target modules PEFT would take them for routed experts."""
    out, inner = load_model(base)["model.layers.0.mlp.down_proj.weight"].shape
    lora = {
        "layers.0.feed_forward.w2.lora_a.weight": torch.ones(8, inner),
        "layers.0.feed_forward.w2.lora_b.weight": torch.ones(out, 8),
        "layers.0.attention.wo.lora_a.weight": torch.ones(8, 8),
        "layers.0.attention.wo.lora_b.weight": torch.ones(8, 8),
    }
    export_dcp(checkpoint=save(lora, tmp_path / "step-3"), base=base, out=tmp_path / "lora", alpha=8)
    config = load_json(tmp_path / "lora/adapter_config.json")
    assert (config["target_modules"], config["target_parameters"]) == (["o_proj"], ["down_proj.weight"])


def evil_metadata(step: Path, ran: Path) -> None:
    (step / ".metadata").write_bytes(pickle.dumps(Evil(ran)))


def evil_chunk(step: Path, ran: Path) -> None:
    """The same length, and a data.pkl that would run."""
    file = next(step.glob("*.distcp"))
    content = file.read_bytes()
    with DcpFolder(step) as folder:
        for tensor in folder.tensors.values():
            chunk = tensor.chunks[0]
            torch.save(Evil(ran), step / "evil.pt")
            evil = (step / "evil.pt").read_bytes()
            if len(evil) <= chunk.length:
                # A zip may begin with anything: it is read from its end.
                padded = bytes(chunk.length - len(evil)) + evil
                content = content[: chunk.begin] + padded + content[chunk.begin + chunk.length :]
    file.write_bytes(content)


def cut_off(step: Path, _: Path) -> None:
    file = next(step.glob("*.distcp"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lose_the_data(step: Path, _: Path) -> None:
    next(step.glob("*.distcp")).unlink()


def nonsense(step: Path, _: Path) -> None:
    (step / ".metadata").write_bytes(b"\x80\x04N.")


@pytest.mark.parametrize("spoil", [evil_metadata, evil_chunk, cut_off, lose_the_data, nonsense])
def test_nothing_in_it_runs(base: Path, tmp_path: Path, spoil: Callable[[Path, Path], None]) -> None:
    step, ran = save(titan(load_model(base)), tmp_path / "step-3"), tmp_path / "ran"
    spoil(step, ran)
    with pytest.raises(Failure) as caught:
        export_dcp(checkpoint=step, base=base, out=tmp_path / "out", alpha=None)
    assert caught.value.exit_code == 3
    assert "step-3" in str(caught.value)
    assert not ran.exists()
    assert not (tmp_path / "out").exists()


def test_a_tensor_of_several_chunks(tmp_path: Path) -> None:
    """As FSDP and TP write them: boxes of two tensors in two files."""
    tensor = torch.arange(48.0).reshape(8, 6)
    save(
        {"a": tensor[:4, :3].clone(), "b": tensor[:4, 3:].clone(), "c": tensor[4:].clone()}, tmp_path / "step"
    )
    with DcpFolder(tmp_path / "step") as folder:
        parts = {"a": (0, 0), "b": (0, 3), "c": (4, 0)}
        chunks = tuple(
            replace(folder.tensors[name].chunks[0], offsets=offsets) for name, offsets in parts.items()
        )
        whole = replace(folder.tensors["c"], shape=(8, 6), chunks=chunks)
        assert torch.equal(folder.read(whole, 0, 8), tensor)
        assert torch.equal(folder.read(whole, 3, 6), tensor[3:6])
        with pytest.raises(Failure, match="fill 36 of 48"):
            folder.read(replace(whole, chunks=chunks[::2]), 0, 8)
