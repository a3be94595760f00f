"""The gate: a merged folder that says something untrue of itself is not published."""

from collections.abc import Callable
from pathlib import Path

import changed_descriptions as changed
import pytest
from small_deepseek import load_json

from finetune_converter.failure import Failure
from finetune_converter.files.atomic import write_json
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

Corrupt = Callable[[Path, Path], None]


def check_caught(base: Path, adapter: Path, dtype: Dtype, corrupt: Corrupt, says: str) -> None:
    out = base.parent / "out"
    merge_folders(base=base, adapter=adapter, out=out, dtype=dtype, workers=1)
    verify_folders(base=base, adapter=adapter, merged=out, dtype=dtype)
    corrupt(out, base)
    with pytest.raises(Failure, match=r".") as caught:
        verify_folders(base=base, adapter=adapter, merged=out, dtype=dtype)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("corrupt", "says"),
    [
        pytest.param(changed.leave_an_empty_folder, "assets: is an empty folder", id="an empty folder"),
        pytest.param(changed.nest_empty_folders, "huggingface: is an empty folder", id="empty folders"),
        pytest.param(changed.claim_another_base, "lineage.base.uri", id="another base claimed"),
        pytest.param(changed.claim_another_folder, "lineage.base.uri", id="another folder claimed"),
        pytest.param(changed.claim_a_revision, "lineage.base.revision", id="a revision claimed"),
        pytest.param(changed.claim_a_marker, "lineage.base.markerSha256", id="a marker claimed"),
        pytest.param(changed.claim_a_run, "lineage.base.uri", id="a run claimed"),
        pytest.param(changed.claim_a_dataset, "lineage.datasetSha256", id="a dataset claimed"),
        pytest.param(changed.claim_a_selection, "lineage.selection", id="a selection claimed"),
        pytest.param(changed.claim_a_loss, "lineage.training", id="a loss claimed"),
        pytest.param(changed.empty_the_manifest, "schemaVersion is None", id="a manifest of nothing"),
        pytest.param(changed.drop_the_lineage, "lineage is None, not an object", id="no lineage"),
        pytest.param(changed.say_more_in_the_manifest, "licence is unknown", id="a key of the manifest"),
        pytest.param(changed.claim_another_tool, "README.md", id="another version of the tool"),
        pytest.param(changed.license_the_card, "README.md", id="another licence in the card"),
        pytest.param(changed.praise_in_the_card, "README.md", id="more text in the card"),
        pytest.param(changed.drop_a_null, "is not there, and the base's is None", id="a null left out"),
        pytest.param(changed.say_true_for_one, "topk_group is True, not 1", id="true for 1"),
        pytest.param(changed.describe_the_index, "and not the base's", id="metadata of the index"),
        pytest.param(changed.say_more_in_the_index, "all_checkpoint_keys", id="a key of the index"),
        pytest.param(changed.sign_another_model, "is not the file that was signed", id="a stale signature"),
        pytest.param(changed.hide_behind_the_signature, "model.sig", id="a signature that is none"),
    ],
)
def test_catches(base: Path, adapter: Callable[..., Path], corrupt: Corrupt, says: str) -> None:
    check_caught(base, adapter(), Dtype.BASE, corrupt, says)


@pytest.mark.parametrize(
    ("dtype", "corrupt", "says"),
    [
        pytest.param(Dtype.FLOAT16, changed.say_two_dtypes, "torch_dtype is 'float32'", id="two dtypes"),
        pytest.param(Dtype.BFLOAT16, changed.quantise_nothing, "must not be there", id="FP8 of nothing"),
        pytest.param(Dtype.FLOAT8, changed.scale_activations, "quantization_config is", id="static scales"),
        pytest.param(Dtype.BASE, changed.quantise_nothing, "must not be there", id="FP8 of nothing, base"),
    ],
)
def test_catches_in_an_export(
    base: Path, adapter: Callable[..., Path], dtype: Dtype, corrupt: Corrupt, says: str
) -> None:
    check_caught(base, adapter(), dtype, corrupt, says)


def test_both_names_of_the_dtype_are_written(base: Path, adapter: Callable[..., Path]) -> None:
    """transformers 4 and 5 name it differently, and a base may have both."""
    config = load_json(base / "config.json")
    write_json(base / "config.json", {**config, "dtype": "bfloat16", "torch_dtype": "bfloat16"})
    folder, out = adapter(), base.parent / "out"
    merge_folders(base=base, adapter=folder, out=out, dtype=Dtype.FLOAT16, workers=1)
    verify_folders(base=base, adapter=folder, merged=out, dtype=Dtype.FLOAT16)
    written = load_json(out / "config.json")
    assert (written["dtype"], written["torch_dtype"]) == ("float16", "float16")
