import torch

from finetune_trainer.model.attention import document_causal_mask


def test_tokens_see_themselves_and_earlier_ones_of_their_document() -> None:
    mask = document_causal_mask(torch.tensor([[0, 1, 0, 1, 2]]))
    expected = torch.tensor(
        [
            [1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [0, 0, 1, 0, 0],
            [0, 0, 1, 1, 0],
            [0, 0, 1, 1, 1],
        ],
        dtype=torch.bool,
    )
    assert torch.equal(mask, expected[None, None])
