"""Merges that were interrupted, shared out, or of other inputs than the time before."""

from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

import pytest
from small_deepseek import ATTENTION, load_json

from finetune_converter.failure import Failure
from finetune_converter.merge.job import MergeJob
from finetune_converter.merge.merge import Part, bytes_to_write, open_merge
from finetune_converter.merge.shard import ShardWriter
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.duplicate import Method
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

Write = Callable[..., Path]


def files(folder: Path) -> object:
    return load_json(folder / "MANIFEST.json")["files"]


def interrupt_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = ShardWriter.write, []

    def stop(self: ShardWriter, name: str, *rest: object) -> object:
        calls.append(name)
        if len(calls) == number:
            raise KeyboardInterrupt
        return write(self, name, *rest)

    monkeypatch.setattr(ShardWriter, "write", stop)


def test_a_merge_of_another_adapter_keeps_nothing_of_the_last(
    base: Path, adapter: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, merged = base.parent / "out", {"base": base, "dtype": Dtype.BASE, "workers": 1}
    first, last = adapter(), len(list(base.glob("*.safetensors")))
    with monkeypatch.context() as patch:
        interrupt_at(last, patch)
        with pytest.raises(KeyboardInterrupt):
            merge_folders(adapter=first, out=out, **merged)
    second = adapter(lora_alpha=64)
    merge_folders(adapter=second, out=out, **merged)
    verify_folders(base=base, adapter=second, merged=out, dtype=Dtype.BASE)


def test_a_merge_in_another_dtype_keeps_nothing_of_the_last(
    base: Path, adapter: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, folder = base.parent / "out", adapter()
    with monkeypatch.context() as patch:
        interrupt_at(3, patch)
        with pytest.raises(KeyboardInterrupt):
            merge_folders(base=base, adapter=folder, out=out, dtype=Dtype.FLOAT8, workers=1)
    merge_folders(base=base, adapter=folder, out=out, dtype=Dtype.BFLOAT16, workers=1)
    verify_folders(base=base, adapter=folder, merged=out, dtype=Dtype.BFLOAT16)


def test_parts_then_one_commit_equal_one_merge(base: Path, adapter: Write) -> None:
    folder, out = adapter(), base.parent / "out"
    options = {"base": base, "adapter": folder, "dtype": Dtype.FLOAT8, "workers": 1}
    for index in range(3):
        merge_folders(**options, out=out, part=Part(index=index, count=3))
        assert not out.exists()
    written = {file.name: file.stat().st_ino for file in (base.parent / "out.merging").glob("*.safetensors")}
    merge_folders(**options, out=out)
    assert {name: (out / name).stat().st_ino for name in written} == written
    merge_folders(**options, out=base.parent / "whole")
    assert files(out) == files(base.parent / "whole")


def test_a_patched_reflink_equals_a_rewritten_file(
    float8_base: Path, adapter: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"base": float8_base, "adapter": adapter(), "dtype": Dtype.BASE, "workers": 1}
    monkeypatch.setattr("finetune_converter.merge.shard.reflink", lambda _source, _target: False)
    merge_folders(**options, out=float8_base.parent / "rewritten")
    # ext4 has no reflinks: a copy stands in for one, as both begin with the base's bytes.
    monkeypatch.setattr(
        "finetune_converter.merge.shard.reflink", lambda source, target: bool(copyfile(source, target))
    )
    merge_folders(**options, out=float8_base.parent / "patched")
    assert files(float8_base.parent / "patched") == files(float8_base.parent / "rewritten")


def test_the_disk_is_asked_only_for_what_is_not_shared(base: Path, adapter: Write) -> None:
    job = MergeJob(base=base, adapter=adapter(), out=base.parent / "out", dtype=Dtype.BASE)
    model, opened, plan = open_merge(job)
    with model, opened.file:
        needed = {method: bytes_to_write(plan, plan.files, method) for method in Method}
        touched = sum(o.spec.nbytes for name in ATTENTION for o in plan.outputs if f".{name}." in o.spec.name)
        assert needed[Method.REFLINK] == touched
        assert needed[Method.REFLINK] < needed[Method.HARD_LINK] < needed[Method.COPY] == plan.total_size


@pytest.mark.parametrize("value", ["", "3", "3/3", "-1/2", "a/b", "1/2/3"])
def test_a_shard_that_is_none(value: str) -> None:
    from click.testing import CliRunner

    from finetune_converter.cli import convert

    result = CliRunner().invoke(convert, ["merge", "--shard", value or " "])
    assert isinstance(result.exception, Failure)
    assert result.exception.exit_code == 2
