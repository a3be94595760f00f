"""The gate: a merge that is not base + adapter is not published."""

from collections.abc import Callable
from pathlib import Path

import changed_files as files
import changed_tensors as tensors
import pytest
from changed_tensors import O_PROJ

from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

Corrupt = Callable[[Path, Path], None]


@pytest.mark.parametrize(
    ("corrupt", "says"),
    [
        pytest.param(tensors.flip_a_byte, "sha256", id="a flipped byte"),
        pytest.param(tensors.untune, O_PROJ, id="an untuned tensor"),
        pytest.param(tensors.halve_the_update, O_PROJ, id="another alpha"),
        pytest.param(tensors.poison, "not finite", id="NaN"),
        pytest.param(
            tensors.nudge_an_untouched_tensor, "embed_tokens", id="an untouched tensor that changed"
        ),
        pytest.param(files.change_the_config, "rms_norm_eps", id="another config"),
        pytest.param(files.add_a_file, "extra.bin", id="a file too many"),
        pytest.param(tensors.swap_two_experts, "experts.0", id="swapped experts"),
        pytest.param(tensors.double_the_update, O_PROJ, id="twice the alpha"),
        pytest.param(tensors.untune_everything, "self_attn", id="the untuned base"),
        pytest.param(tensors.forget_one_row, O_PROJ, id="a row without its update"),
        pytest.param(tensors.move_by_one_unit, O_PROJ, id="values two units off"),
        pytest.param(tensors.transpose, O_PROJ, id="a transposed tensor"),
        pytest.param(tensors.widen, "F32", id="another dtype"),
        pytest.param(tensors.negate_a_norm, "model.norm.weight", id="a norm with the other sign"),
        pytest.param(tensors.lose_a_layer, "layers.1.", id="a lost layer"),
        pytest.param(tensors.truncate_a_file, "safetensors", id="a truncated file"),
        pytest.param(files.lose_the_tokenizer, "tokenizer_config.json", id="a lost tokenizer"),
        pytest.param(files.announce_float8, "quantization_config", id="FP8 announced beside bf16"),
        pytest.param(files.announce_another_depth, "num_hidden_layers", id="another depth announced"),
        pytest.param(files.swap_the_tokenizer, "tokenizer.json", id="another tokenizer"),
        pytest.param(files.swap_the_template, "chat_template.jinja", id="another chat template"),
        pytest.param(
            files.empty_the_tokenizer_config,
            "tokenizer_config.json",
            id="an emptied tokenizer_config",
        ),
        pytest.param(files.remove_eos, "generation_config.json", id="no eos in generation_config"),
        pytest.param(files.add_the_adapter, "adapter_config.json", id="the adapter again"),
        pytest.param(files.add_a_single_file_model, "model.safetensors", id="a model that is loaded first"),
        pytest.param(files.link_a_weight_file, "is a link", id="a weight file elsewhere"),
        pytest.param(files.add_an_unlisted_file, "notes.txt", id="a file that is not listed"),
        pytest.param(files.sample_hotter, "generation_config.json", id="another temperature"),
        pytest.param(files.drop_the_generation_config, "generation_config.json", id="no generation_config"),
        pytest.param(files.drop_the_template, "chat_template.jinja", id="no chat template"),
        pytest.param(files.add_a_second_index, "pytorch_model.bin.index.json", id="a second index"),
        pytest.param(files.add_a_gguf, "model-q4.gguf", id="a quantised copy"),
        pytest.param(files.add_code, "modeling_deepseek.py", id="code"),
        pytest.param(files.name_code, "auto_map", id="code named in config.json"),
        pytest.param(files.nest_a_model, "original/consolidated.safetensors", id="a model in a folder below"),
        pytest.param(files.hide_a_file, ".env", id="a hidden file"),
        pytest.param(files.invent_special_tokens, "added_tokens.json", id="tokens that nobody trained"),
        pytest.param(files.rewrite_the_base_card, "BASE_README.md", id="another card of the base"),
        pytest.param(files.climb_out, "is not the name of a file", id="a listed path outside"),
        pytest.param(files.empty_the_manifest, "lists no files", id="an empty manifest"),
        pytest.param(files.claim_another_adapter, "another adapter", id="another adapter claimed"),
        pytest.param(tensors.swap_two_layers, "kv_b_proj", id="two layers swapped"),
        pytest.param(tensors.swap_gate_and_up, "mlp.gate_proj", id="gate and up swapped"),
        pytest.param(tensors.bias_the_router, "e_score_correction_bias", id="another router bias"),
        pytest.param(tensors.round_down, O_PROJ, id="values rounded toward zero"),
        pytest.param(files.say_another_dtype, "dtype", id="another dtype announced"),
        pytest.param(files.name_more_words, "eos_token_id", id="another eos in config.json"),
        pytest.param(files.claim_another_dtype, "exported as 'float16'", id="another dtype claimed"),
        pytest.param(files.claim_another_version, "schemaVersion is 9", id="a manifest of another version"),
        pytest.param(files.rewrite_the_card, "README.md", id="another model card"),
        pytest.param(files.drop_the_card, "README.md", id="no model card"),
        pytest.param(files.unlist_a_tensor, O_PROJ, id="a tensor that the index does not list"),
        pytest.param(files.count_fewer_bytes, "total_size is 1", id="an index of fewer bytes"),
        pytest.param(files.say_tensorflow, "its metadata is", id="a file of another format"),
    ],
)
def test_catches(base: Path, adapter: Callable[..., Path], corrupt: Corrupt, says: str) -> None:
    folder, out = adapter(), base.parent / "out"
    merge_folders(base=base, adapter=folder, out=out, dtype=Dtype.BASE, workers=1)
    verify_folders(base=base, adapter=folder, merged=out, dtype=Dtype.BASE)
    corrupt(out, base)
    with pytest.raises(Failure, match=r".") as caught:
        verify_folders(base=base, adapter=folder, merged=out, dtype=Dtype.BASE)
    assert says in str(caught.value)
    assert caught.value.exit_code == 3


def test_catches_a_scale_that_is_no_power_of_two(ue8m0_base: Path, adapter: Callable[..., Path]) -> None:
    test_catches(ue8m0_base, adapter, tensors.uneven_scale, "powers of two")


@pytest.mark.parametrize(
    ("corrupt", "says"),
    [
        pytest.param(files.keep_all_out, "quantization_config", id="FP8 weights announced as kept out"),
        pytest.param(files.announce_other_blocks, "quantization_config", id="other blocks announced"),
        pytest.param(tensors.stale_scales, O_PROJ, id="stale scales"),
        pytest.param(tensors.zero_scales, f"{O_PROJ}_scale_inv", id="scales of zero"),
        pytest.param(tensors.coarse_scales, O_PROJ, id="scales too coarse"),
        pytest.param(tensors.untune_everything, "self_attn", id="the untuned base"),
        pytest.param(tensors.swap_two_experts, "experts.0", id="swapped experts"),
    ],
)
def test_catches_in_float8(
    float8_base: Path, adapter: Callable[..., Path], corrupt: Corrupt, says: str
) -> None:
    test_catches(float8_base, adapter, corrupt, says)
