"""The plan for DeepSeek-V3 itself: 163 files of real headers, sparse, so that they take no disk."""

from collections import Counter
from pathlib import Path

import pytest

from deepseek_v3 import DeepSeekV3, sparse, write_adapter, write_base
from finetune_converter.merge.job import MergeJob
from finetune_converter.merge.merge import Part, bytes_to_write, open_merge
from finetune_converter.merge.plan import MergePlan, Weight
from finetune_converter.model_files.duplicate import Method
from finetune_converter.model_files.export_dtype import Dtype

FILES, LAYERS, PROJECTIONS = 163, 61, 5
MODEL = DeepSeekV3()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("671b") / "base", MODEL, sparse)


def plan_of(base: Path, dtype: Dtype) -> MergePlan:
    adapter = base.with_name("adapter")
    if not adapter.exists():
        write_adapter(adapter, MODEL, sparse, experts=False)
    model, opened, plan = open_merge(MergeJob(base=base, adapter=adapter, out=base, dtype=dtype))
    with model, opened.file:
        assert {output.spec.name for output in plan.outputs} <= model.tensors.keys()
        return plan


def test_every_tensor_once(base: Path) -> None:
    plan = plan_of(base, Dtype.BASE)
    names = Counter(output.spec.name for output in plan.outputs)
    # 45,808 FP8 matrices with their scales, and the norms, routers, embeddings and heads between them.
    assert names.total() == len(names) == 91_991
    updated = [output for output in plan.outputs if isinstance(output, Weight)]
    assert len(updated) == LAYERS * PROJECTIONS
    assert sum(spec.spec.nbytes for spec in plan.outputs) == plan.total_size


def test_every_file_in_one_part(base: Path) -> None:
    plan = plan_of(base, Dtype.BASE)
    parts = [Part(index=index, count=8).names(plan) for index in range(8)]
    assert sorted(name for part in parts for name in part) == sorted(plan.files)
    assert len(plan.files) == FILES
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_attention_alone_writes_its_own_bytes(base: Path) -> None:
    plan = plan_of(base, Dtype.BASE)
    written = {method: bytes_to_write(plan, plan.files, method) for method in Method}
    assert written[Method.REFLINK] < 0.02 * plan.total_size
    assert written[Method.HARD_LINK] < 0.5 * plan.total_size
    assert written[Method.COPY] == plan.total_size


def test_bfloat16_has_no_scales(base: Path) -> None:
    plan = plan_of(base, Dtype.BFLOAT16)
    assert not any(output.spec.name.endswith("_scale_inv") for output in plan.outputs)
    assert plan.total_size == pytest.approx(1.37e12, rel=0.01)
