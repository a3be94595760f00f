"""Where packed documents start, as FlashAttention takes it. bench/full_width.py runs its kernels."""

import pytest
import torch

from finetune_trainer.model.flash import document_starts, flash_attention_works


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        pytest.param([[0, 1, 2, 3]], [0, 4], id="one document"),
        pytest.param([[0, 1, 0, 1]], [0, 2, 4], id="two documents"),
        pytest.param([[0, 1, 2, 3], [0, 0, 1, 2]], [0, 4, 5, 8], id="two sequences"),
    ],
)
def test_documents_start_where_positions_do(positions: list[list[int]], expected: list[int]) -> None:
    bounds = document_starts(torch.tensor(positions))
    assert bounds.cu_seq_q.tolist() == expected
    assert bounds.cu_seq_q.dtype == torch.int32
    assert bounds.max_q == 4


def test_a_machine_without_a_gpu_has_no_flash_attention() -> None:
    assert not flash_attention_works()
