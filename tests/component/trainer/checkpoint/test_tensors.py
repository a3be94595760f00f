import torch

from finetune_trainer.checkpoint.tensors import Shard, ShardCopy, TrainedParameter, copy_shards, whole_tensors


def test_shards_make_up_the_whole_and_the_scalars() -> None:
    matrix, count = torch.arange(12.0).reshape(4, 3), torch.tensor(7.0)
    rows = [(slice(0, 3), slice(0, 3)), (slice(3, 4), slice(0, 3)), (slice(4, 4), slice(0, 3))]
    shards = [Shard("a", (4, 3), place, matrix[place]) for place in rows] + [Shard("a/step", (), (), count)]
    whole = whole_tensors([*shards, shards[0]])  # a copy of what another rank has too
    assert whole.keys() == {"a", "a/step"}
    assert torch.equal(whole["a"], matrix)
    assert torch.equal(whole["a/step"], count)


def test_a_copy_does_not_change_with_the_training() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    copies = copy_shards([TrainedParameter("a", parameter, {"exp_avg": torch.zeros(2)})])
    with torch.no_grad():
        parameter.fill_(5.0)
    assert [copied.name for copied in copies] == ["a", "a/exp_avg"]
    assert copies[0].values.tolist() == [1.0, 1.0]
    assert isinstance(copies[0], ShardCopy)
    assert copies[0].located().place == (slice(0, 2),)
