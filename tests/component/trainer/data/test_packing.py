"""Packing and the dataloader: one global order, at every number of processes, from every position."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.contract.failure import ConfigurationError, DataError
from finetune_trainer.data.document import Document
from finetune_trainer.data.loader import PackedDataLoader, pack_sequence
from finetune_trainer.data.packing import SequenceOrder, pack_epoch
from finetune_trainer.data.store import TokenStore, split

LENGTH = 16


class EosOnly:
    eos_id = 99


def documents(count, longest=LENGTH):
    return [
        Document(
            tokens=[10 + n] * (2 + n % longest), trained=[False] + [True] * (1 + n % longest), line=n + 1
        )
        for n in range(count)
    ]


@pytest.fixture
def store_file(tmp_path):
    file = tmp_path / "training.safetensors"
    TokenStore.of(documents(23)).save(file)
    return file


def loader(file, *, ranks=1, rank=0, batch=2, seq_len=LENGTH, **config):
    built = PackedDataLoader.Config(dataset_path=str(file), **config)
    return built.build(
        dp_world_size=ranks,
        dp_rank=rank,
        tokenizer=EosOnly(),
        seq_len=seq_len,
        local_batch_size=batch,
        snapshot_every_n_steps=None,
    )


def rows(batches):
    return [tuple(row.tolist()) for inputs, _ in batches for row in inputs["input"]]


def global_rows(file, *, ranks, batch, calls, state=None):
    loaders = [loader(file, ranks=ranks, rank=rank, batch=batch, seed=3) for rank in range(ranks)]
    for each in loaders:
        if state:
            each.load_state_dict(state)
    per_rank = [list(itertools.islice(each, calls)) for each in loaders]
    by_call = [rows([batches[call] for batches in per_rank]) for call in range(calls)]
    states = [each.state_dict() for each in loaders]
    assert all(state == states[0] for state in states)
    return list(itertools.chain(*by_call)), states[0]


def global_rows_since(each, first):
    return [each._sequence(index)[0].tolist() for index in range(first, each.state_dict()["sequences"])]


def test_the_order_is_the_same_at_every_number_of_processes(store_file):
    alone, _ = global_rows(store_file, ranks=1, batch=2, calls=24)
    assert global_rows(store_file, ranks=4, batch=2, calls=6)[0] == alone
    assert global_rows(store_file, ranks=3, batch=1, calls=16)[0] == alone
    assert len(set(alone)) > 20


def test_a_run_resumes_at_another_number_of_processes(store_file):
    alone, _ = global_rows(store_file, ranks=1, batch=2, calls=24)
    head, state = global_rows(store_file, ranks=2, batch=2, calls=5)
    tail, _ = global_rows(store_file, ranks=4, batch=1, calls=7, state=state)
    assert state == {"sequences": 20}
    assert head + tail == alone


def test_the_lines_of_a_step_are_those_of_all_ranks(store_file):
    per_rank = [loader(store_file, ranks=2, rank=rank, shuffle=False) for rank in range(2)]
    alone = loader(store_file, batch=4, shuffle=False)
    for each in [*per_rank, alone]:
        batches = iter(each)
        next(batches)
        before = each.state_dict()
        next(batches)
        assert each.lines_since(before) == each.lines_since({"sequences": 4})
    lines = [each.lines_since({"sequences": 4}) for each in [*per_rank, alone]]
    assert lines[0] == lines[1] == lines[2]
    tokens = {token for row in global_rows_since(alone, 4) for token in row} - {EosOnly.eos_id}
    assert {10 + line - 1 for line in lines[0]} == tokens


def test_one_pass_ends_on_all_ranks_together_with_every_document_once(store_file):
    per_rank = [
        list(loader(store_file, ranks=4, rank=rank, infinite=False, shuffle=False)) for rank in range(4)
    ]
    assert len({len(batches) for batches in per_rank}) == 1
    labels = torch.cat([labels.flatten() for batches in per_rank for _, labels in batches])
    expected = sum(sum(document.trained[1:]) for document in documents(23))
    assert int((labels != -100).sum()) == expected


def test_a_sequence_keeps_documents_apart():
    store = TokenStore.of(
        [
            Document(tokens=[1, 2, 3, 4], trained=[False, False, True, True]),
            Document(tokens=[5, 6, 7], trained=[False, True, True]),
        ]
    )
    tokens, positions, labels = pack_sequence(store, [0, 1], length=8, padding=99)
    assert tokens.tolist() == [1, 2, 3, 5, 6, 99, 99, 99]
    assert positions.tolist() == [0, 1, 2, 0, 1, 0, 1, 2]
    assert labels.tolist() == [-100, 3, 4, 6, 7, -100, -100, -100]


def test_an_override_below_the_longest_document_is_refused(store_file):
    with pytest.raises(ConfigurationError, match="more than seq_len 8"):
        loader(store_file, seq_len=8)


@pytest.mark.parametrize("content", [pytest.param(None, id="missing"), pytest.param(b"x" * 20, id="damaged")])
def test_tokens_that_cannot_be_read_are_named(tmp_path, content):
    file = tmp_path / "training.safetensors"
    if content:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"training\.safetensors"):
        TokenStore.load(file)


@given(
    lengths=st.lists(st.integers(1, 16), min_size=1, max_size=60),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 9),
)
def test_an_epoch_holds_every_document_once_and_overfills_nothing(lengths, seed, epoch):
    packed = pack_epoch(lengths, sequence_length=16, seed=seed, epoch=epoch)
    sequences = [packed.sequence(i) for i in range(len(packed))]
    assert sorted(itertools.chain(*sequences)) == list(range(len(lengths)))
    assert all(sequences)
    assert all(sum(lengths[d] for d in sequence) <= 16 for sequence in sequences)


@given(
    lengths=st.lists(st.integers(1, 16), min_size=1, max_size=20),
    indices=st.lists(st.integers(0, 99), max_size=9),
)
def test_any_sequence_can_be_asked_for_in_any_order(lengths, indices):
    straight = SequenceOrder(lengths, sequence_length=16, seed=1)
    expected = [straight[i] for i in range(100)]
    jumping = SequenceOrder(lengths, sequence_length=16, seed=1)
    assert [jumping[i] for i in indices] == [expected[i] for i in indices]


@pytest.mark.parametrize(
    ("count", "share", "validating"),
    [
        pytest.param(100, 0.0, 0, id="none"),
        pytest.param(100, 0.1, 10, id="tenth"),
        pytest.param(5, 0.01, 1, id="at-least-one"),
        pytest.param(5, 0.99, 4, id="one-trains"),
        pytest.param(1, 0.5, 0, id="a-single-document-trains"),
    ],
)
def test_the_validation_share(count, share, validating):
    store = TokenStore.of(documents(count))
    training, validation = split(store, share, seed=1)
    assert len(validation) == validating
    assert sorted(training + validation) == list(range(count))
    assert (training, validation) == split(store, share, seed=1)
