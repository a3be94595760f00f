"""`finetune-convert check`: a folder that still is what its manifest lists."""

from collections.abc import Callable
from pathlib import Path

import pytest
from changed_descriptions import leave_an_empty_folder
from changed_files import add_an_unlisted_file, climb_out, empty_the_manifest, link_a_weight_file
from changed_tensors import flip_a_byte, truncate_a_file
from click.testing import CliRunner

from finetune_converter import cli
from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype


@pytest.fixture
def merged(base: Path, adapter: Callable[..., Path]) -> Path:
    out = base.parent / "out"
    merge_folders(base=base, adapter=adapter(), out=out, dtype=Dtype.BASE, workers=1)
    return out


def lose_a_file(folder: Path, _: Path) -> None:
    (folder / "generation_config.json").unlink()


def lose_the_manifest(folder: Path, _: Path) -> None:
    (folder / "MANIFEST.json").unlink()


def cut_the_manifest(folder: Path, _: Path) -> None:
    file = folder / "MANIFEST.json"
    file.write_text(file.read_text()[:-20])


def empty_the_whole_manifest(folder: Path, _: Path) -> None:
    (folder / "MANIFEST.json").write_text("{}")


def leave(_folder: Path, _base: Path) -> None:
    """Change nothing."""


def test_the_file_system_s_own_folder_is_no_change(merged: Path) -> None:
    (merged / "lost+found").mkdir()
    assert CliRunner().invoke(cli.convert, ["check", str(merged)]).exit_code == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(leave, None, id="as it was written"),
        pytest.param(flip_a_byte, "its sha256 is not", id="a flipped byte"),
        pytest.param(truncate_a_file, "its sha256 is not", id="a short file"),
        pytest.param(lose_a_file, "generation_config.json: is not there", id="a lost file"),
        pytest.param(add_an_unlisted_file, "notes.txt: is not in MANIFEST.json", id="a file too many"),
        pytest.param(link_a_weight_file, "is a link", id="a link"),
        pytest.param(climb_out, "is not the name of a file", id="a path outside"),
        pytest.param(empty_the_manifest, "lists no files", id="an empty manifest"),
        pytest.param(
            empty_the_whole_manifest, "MANIFEST.json: it lists no files", id="a manifest of nothing"
        ),
        pytest.param(leave_an_empty_folder, "assets: is an empty folder", id="an empty folder"),
        pytest.param(lose_the_manifest, "MANIFEST.json: no such file", id="no manifest"),
        pytest.param(cut_the_manifest, "MANIFEST.json: not JSON", id="a cut manifest"),
    ],
)
def test_check(base: Path, merged: Path, change: Callable[[Path, Path], None], says: str | None) -> None:
    change(merged, base)
    result = CliRunner().invoke(cli.convert, ["check", str(merged)])
    if says is None:
        assert result.exit_code == 0, result.exception
        assert "files are those of MANIFEST.json" in result.output
    else:
        assert isinstance(result.exception, Failure)
        assert says in str(result.exception)
        assert result.exception.exit_code == 3
