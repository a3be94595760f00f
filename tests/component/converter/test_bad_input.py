"""Every bad input ends in one line that names the file or tensor, with the contract's exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from finetune_converter import cli
from finetune_converter.failure import EXIT_CODES, Failure, failure_of

CONTRACT = Path(__file__).parents[3] / "contract/exit-codes.json"
Break = Callable[[Path, Path], None]


def _first(base: Path) -> Path:
    return sorted(base.glob("*.safetensors"))[0]


def truncate(base: Path, _: Path) -> None:
    file = _first(base)
    file.write_bytes(file.read_bytes()[:-10])


def lose_a_file(base: Path, _: Path) -> None:
    _first(base).unlink()


def point_outside(base: Path, _: Path) -> None:
    index = json.loads((base / "model.safetensors.index.json").read_text())
    name = next(iter(index["weight_map"]))
    index["weight_map"][name] = "../secret.safetensors"
    (base / "model.safetensors.index.json").write_text(json.dumps(index))


def claim_a_huge_header(base: Path, _: Path) -> None:
    _first(base).write_bytes((100 * 2**30).to_bytes(8, "little") + b"{}")


def lose_the_index(base: Path, _: Path) -> None:
    (base / "model.safetensors.index.json").unlink()


def leave_a_pointer(base: Path, _: Path) -> None:
    _first(base).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def save_a_page(base: Path, _: Path) -> None:
    _first(base).write_text("<!DOCTYPE html><html><body>Sign in</body></html>")


def change_rank(_: Path, adapter: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "r": 32}))


def rename_a_module(_: Path, adapter: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {n.replace("o_proj", "x_proj"): t for n, t in tensors.items()}, adapter / "adapter_model.safetensors"
    )


def narrow(_: Path, adapter: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    cut = {n: t[:, :-8].contiguous() if "o_proj.lora_A" in n else t for n, t in tensors.items()}
    save_file(cut, adapter / "adapter_model.safetensors")


def pickle_only(_: Path, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")


@pytest.mark.parametrize(
    ("break_it", "exit_code", "says"),
    [
        pytest.param(truncate, 3, "truncated", id="truncated file"),
        pytest.param(lose_a_file, 3, "which is not there", id="missing file"),
        pytest.param(point_outside, 3, "is not the name of a file", id="path with .."),
        pytest.param(claim_a_huge_header, 3, "over the limit", id="header of 100 GB"),
        pytest.param(lose_the_index, 3, "index.json: missing, beside 6 files", id="no index"),
        pytest.param(leave_a_pointer, 3, "a Git LFS pointer", id="Git LFS pointer"),
        pytest.param(save_a_page, 3, "an HTML page", id="HTML page"),
        pytest.param(change_rank, 3, "rank 32", id="wrong rank"),
        pytest.param(rename_a_module, 3, "the base has no", id="unknown module"),
        pytest.param(narrow, 3, "its update is", id="wrong shape"),
        pytest.param(pickle_only, 3, "never read", id="pickle"),
    ],
)
def test_one_line(
    base: Path, adapter: Callable[..., Path], break_it: Break, exit_code: int, says: str
) -> None:
    folder = adapter()
    break_it(base, folder)
    arguments = ["merge", "--base", str(base), "--adapter", str(folder), "--out", str(base.parent / "out")]
    result = CliRunner().invoke(cli.convert, arguments)
    failure = failure_of(result.exception) if result.exception else None
    assert isinstance(failure, Failure)
    assert says in str(failure)
    assert "\n" not in str(failure)
    assert failure.exit_code == exit_code
    assert not (base.parent / "out").exists()


def test_exit_codes_are_the_contract() -> None:
    contract = json.loads(CONTRACT.read_text())
    assert {str(int(code)) for code in EXIT_CODES.values()} <= contract.keys()
