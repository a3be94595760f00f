"""How often bytes are read: of 671B, a second time is hours."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from small_deepseek import FUSED

from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.model_files.tensor_file import TensorFile
from finetune_converter.verify.logits import compare_logits
from finetune_converter.verify.prompts import random_prompts
from finetune_converter.verify.tensors import check_tensors
from finetune_converter.verify.verify import Claim, open_models

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
    claim = Claim(base=base, adapter=folder, merged=out, dtype="base")
    with open_models(claim) as (models, config):
        size = sum(located.entry.nbytes for located in models.merged.tensors.values())
        update = sum(entry.nbytes for entry in models.adapter.file.header.tensors.values())
        reads.clear()
        check_tensors(models)
        # A computed FP8 tensor brings its base's scales and the merged ones, of 4 bytes a block.
        assert reads["base"] <= size
        assert reads["out"] <= size
        assert reads["adapter"] <= update
        reads.clear()
        compare_logits(models, config, random_prompts(64), lambda: None)
        assert reads["base"] <= size
        assert reads["out"] <= size
        assert reads["adapter"] <= update
