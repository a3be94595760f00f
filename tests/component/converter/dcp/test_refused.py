"""Checkpoints that are refused: more than the base, no step folder, and bytes that would run."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_deepseek import load_model
from titan_checkpoints import Tensors, lora_of, save, titan

from finetune_converter.dcp.export import export_dcp
from finetune_converter.dcp.folder import DcpFolder
from finetune_converter.failure import Failure

# One process, no process group: torch warns, and that is meant here.
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


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
