"""How often bytes are read: of 671B, a second time is hours."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from small_deepseek import FUSED

from finetune_converter.merge.job import MergeJob
from finetune_converter.merge.merge import open_merge
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.model_files.model_folder import open_model_folder
from finetune_converter.model_files.tensor_file import TensorFile
from finetune_converter.verify.logits import compare_logits
from finetune_converter.verify.prompts import random_prompts
from finetune_converter.verify.tensors import Models, check_tensors

Reads = Counter[str]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Bytes read, by folder."""
    counted: Reads = Counter()
    read = TensorFile.read_into

    def counting(self: TensorFile, buffer: memoryview, begin: int) -> None:
        counted[self.path.parent.name] += len(buffer)
        read(self, buffer, begin)

    monkeypatch.setattr(TensorFile, "read_into", counting)
    return counted


@pytest.mark.parametrize("source", ["base", "float8_base"])
def test_every_byte_once_for_the_tensors_and_once_for_the_logits(
    request: pytest.FixtureRequest, adapter: Callable[..., Path], reads: Reads, source: str
) -> None:
    base = request.getfixturevalue(source)
    folder, out = adapter(target_parameters=FUSED), base.parent / "out"
    merge_folders(base=base, adapter=folder, out=out, dtype=Dtype.BASE, workers=1)
    model, opened, plan = open_merge(MergeJob(base=base, adapter=folder, out=out, dtype=Dtype.BASE))
    with model, opened.file, open_model_folder(out) as merged:
        models = Models(plan=plan, base=model, adapter=opened, merged=merged)
        size, update = plan.total_size, sum(e.nbytes for e in opened.file.header.tensors.values())
        reads.clear()
        check_tensors(models)
        # A computed FP8 tensor brings its base's scales and the merged ones, of 4 bytes a block.
        assert reads["base"] <= size
        assert reads["out"] <= size
        # Halves of a fused gate_up share its lora_A.
        assert reads["adapter"] <= 2 * update
        reads.clear()
        compare_logits(models, random_prompts(64), lambda: None)
        assert reads["base"] <= size
        assert reads["out"] <= size
        assert reads["adapter"] <= 2 * update
