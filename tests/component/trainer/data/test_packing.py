"""Packing and the dataloader: one global order, at every number of processes, from every position."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_trainer.contract.failure import ConfigurationError, DataError
from finetune_trainer.data.document import Document
from finetune_trainer.data.loader import PackedDataLoader, held_out_parts, pack_sequence
from finetune_trainer.data.packing import Members, Packing, SequenceOrder, best_fit, pack, sequences_of
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


def write_packed(folder, documents, length=LENGTH):
    store = TokenStore.write(documents, folder)
    members = Members(documents=torch.arange(len(store)))
    pack(
        folder / "training",
        lengths=store.lengths(),
        sources=[members],
        sequence_length=length,
        seed=1,
        window=8,
    )
    return store


@pytest.fixture
def store_file(tmp_path):
    write_packed(tmp_path, documents(23))
    return tmp_path


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


def test_the_order_is_the_same_at_every_number_of_processes(store_file):
    alone, _ = global_rows(store_file, ranks=1, batch=2, calls=24)
    assert global_rows(store_file, ranks=4, batch=2, calls=6)[0] == alone
    assert global_rows(store_file, ranks=3, batch=1, calls=16)[0] == alone
    assert len(set(alone)) > 10


def test_a_run_resumes_at_another_number_of_processes(store_file):
    alone, _ = global_rows(store_file, ranks=1, batch=2, calls=24)
    head, state = global_rows(store_file, ranks=2, batch=2, calls=5)
    tail, _ = global_rows(store_file, ranks=4, batch=1, calls=7, state=state)
    assert state == {"sequences": 20}
    assert head + tail == alone


def test_the_lines_of_a_step_are_told_by_rank(store_file):
    per_rank = [loader(store_file, ranks=2, rank=rank, batch=2, shuffle=False) for rank in range(2)]
    alone = loader(store_file, batch=4, shuffle=False)
    for each in [*per_rank, alone]:
        batches = iter(each)
        next(batches)
        before = each.state_dict()
        batch, _ = next(batches)
        lines = each.own_lines_since(before)
        assert {10 + line - 1 for line in lines} == set(batch["input"].flatten().tolist()) - {EosOnly.eos_id}
        assert lines == each.own_lines_since({"sequences": 4})
    lines = [set(each.own_lines_since({"sequences": 4})) for each in [*per_rank, alone]]
    assert lines[0] | lines[1] == lines[2]


def test_one_pass_ends_on_all_ranks_together_with_every_document_once(store_file):
    per_rank = [
        list(loader(store_file, ranks=4, rank=rank, infinite=False, shuffle=False)) for rank in range(4)
    ]
    assert len({len(batches) for batches in per_rank}) == 1
    labels = torch.cat([labels.flatten() for batches in per_rank for _, labels in batches])
    expected = sum(sum(document.trained[1:]) for document in documents(23))
    assert int((labels != -100).sum()) == expected


@pytest.mark.parametrize(
    ("ranks", "batch"), [pytest.param(1, 8, id="one-rank"), pytest.param(4, 1, id="four-ranks")]
)
@pytest.mark.parametrize("epochs", [1.0, 3.0])
def test_epochs_train_every_document_as_often_and_fill_up_the_last_step(store_file, epochs, ranks, batch):
    per_rank = [
        loader(store_file, ranks=ranks, rank=rank, batch=batch, epochs=epochs) for rank in range(ranks)
    ]
    sequences = sequences_of(epochs, len(Packing.load(store_file / "training")))
    calls = -(-sequences // (ranks * batch))
    assert sequences % (ranks * batch)  # or there is nothing to fill up
    batches = [list(itertools.islice(each, calls + 1)) for each in per_rank]
    labels = torch.cat([labels.flatten() for own in batches for _, labels in own[:calls]])
    expected = sum(sum(document.trained[1:]) for document in documents(23))
    assert int((labels != -100).sum()) == epochs * expected
    assert all((labels == -100).all() for own in batches for _, labels in own[calls:])


def test_a_sequence_keeps_documents_apart(tmp_path):
    store = TokenStore.write(
        [
            Document(tokens=[1, 2, 3, 4], trained=[False, False, True, True]),
            Document(tokens=[5, 6, 7], trained=[False, True, True]),
        ],
        tmp_path,
    )
    tokens, positions, labels = pack_sequence(store, [0, 1], length=8, padding=99)
    assert tokens.tolist() == [1, 2, 3, 5, 6, 99, 99, 99]
    assert positions.tolist() == [0, 1, 2, 0, 1, 0, 1, 2]
    assert labels.tolist() == [-100, 3, 4, 6, 7, -100, -100, -100]


def test_an_override_below_the_longest_document_is_refused(store_file):
    with pytest.raises(ConfigurationError, match="more than seq_len 8"):
        loader(store_file, seq_len=8)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        pytest.param("index.json", None, id="missing"),
        pytest.param("index.json", b"{", id="no-index"),
        pytest.param("tokens.int32", b"x" * 20, id="cut"),
        pytest.param("lines.int64", None, id="a-column-is-missing"),
    ],
)
def test_tokens_that_cannot_be_read_are_named(store_file, file, content):
    (store_file / file).unlink()
    if content:
        (store_file / file).write_bytes(content)
    with pytest.raises(DataError, match=f"^{store_file}: the tokenized dataset cannot be read"):
        TokenStore.load(store_file)


def test_writing_that_was_cut_off_leaves_no_store(store_file):
    def cut_off():
        yield from documents(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TokenStore.write(cut_off(), store_file)
    with pytest.raises(DataError, match="cannot be read"):
        TokenStore.load(store_file)


def test_a_store_holds_what_was_written(store_file):
    store = TokenStore.load(store_file)
    assert len(store) == 23
    for index, document in enumerate(documents(23)):
        tokens, trained = store.document(index)
        assert (tokens.tolist(), trained.tolist()) == (document.tokens, document.trained)
        assert (int(store.lines[index]), int(store.lengths()[index])) == (document.line, document.length)


@pytest.mark.parametrize(
    ("lengths", "sequences"),
    [
        pytest.param([], [], id="none"),
        pytest.param([16], [[0]], id="one"),
        pytest.param([9, 9, 7, 7], [[0, 3], [1, 2]], id="pairs"),
        pytest.param([10, 5, 11, 6], [[2, 1], [0, 3]], id="the-fullest-that-fits"),
        pytest.param([1] * 17, [list(range(16)), [16]], id="equal"),
    ],
)
def test_the_longest_first_each_into_the_fullest_that_fits(lengths, sequences):
    assert best_fit(lengths, 16) == sequences


@given(
    lengths=st.lists(st.integers(1, 16), min_size=1, max_size=60),
    seed=st.integers(0, 2**40),
    window=st.integers(1, 70),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_packing_holds_every_member_once_and_overfills_nothing(tmp_path, lengths, seed, window):
    members = torch.arange(0, len(lengths), 2)
    options = {"sources": [Members(documents=members)], "sequence_length": 16, "seed": seed, "window": window}
    packing = pack(tmp_path, lengths=torch.tensor(lengths), **options)
    sequences = [packing.sequence(i) for i in range(len(packing))]
    assert sorted(itertools.chain(*sequences)) == members.tolist()
    assert all(sequences)
    assert all(sum(lengths[d] for d in sequence) <= 16 for sequence in sequences)
    again = pack(tmp_path, lengths=torch.tensor(lengths), **options)
    assert [again.sequence(i) for i in range(len(again))] == sequences


@given(lengths=st.lists(st.integers(1, 16), min_size=2, max_size=60))
@settings(deadline=None)
def test_best_fit_needs_few_more_than_the_tokens_do(lengths):
    fewest = -(-sum(lengths) // 16)
    assert len(best_fit(lengths, 16)) <= max(fewest + 1, 2 * fewest * 11 // 9)


@given(seed=st.integers(0, 2**40), indices=st.lists(st.integers(0, 99), max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_sequence_can_be_asked_for_in_any_order(store_file, seed, indices):
    packing = Packing.load(store_file / "training")
    straight = SequenceOrder(packing, seed=seed)
    expected = [straight[i] for i in range(100)]
    jumping = SequenceOrder(packing, seed=seed)
    assert [jumping[i] for i in indices] == [expected[i] for i in indices]


def test_every_epoch_has_every_document_once_in_an_order_of_its_own(store_file):
    packing = Packing.load(store_file / "training")
    order = SequenceOrder(packing, seed=3)
    epochs = [[order[e * len(packing) + i] for i in range(len(packing))] for e in range(3)]
    assert all(sorted(itertools.chain(*epoch)) == list(range(23)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize(
    ("epochs", "sequences", "taken"),
    [
        pytest.param(1.0, 15, 15, id="one"),
        pytest.param(3.0, 15, 45, id="three"),
        pytest.param(0.5, 15, 8, id="a-part-counts-whole"),
        pytest.param(0.1, 30, 3, id="floating-point"),
        pytest.param(0.001, 30, 1, id="at-least-one"),
    ],
)
def test_epochs_take_sequences(epochs, sequences, taken):
    assert sequences_of(epochs, sequences) == taken


def test_a_source_of_several_can_be_loaded_alone(tmp_path):
    store = TokenStore.write(documents(23), tmp_path)
    numbers = torch.arange(len(store))
    sources = [
        Members(documents=numbers[:10], trained_tokens=10, name="a"),
        Members(documents=numbers[10:], trained_tokens=13, name="b"),
    ]
    pack(tmp_path / "validation", lengths=store.lengths(), sources=sources, sequence_length=LENGTH, seed=1)
    whole = PackedDataLoader.Config(dataset_path=str(tmp_path), part="validation")
    assert [part.name for part in held_out_parts(whole)] == ["a", "b"]
    loaded = [
        {
            token
            for row in rows(loader(tmp_path, part="validation", infinite=False, shuffle=False, source=source))
            for token in row
        }
        for source in (0, 1)
    ]
    assert [tokens - {EosOnly.eos_id} for tokens in loaded] == [set(range(10, 20)), set(range(20, 33))]


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
    training, validation = (part.tolist() for part in split(count, share, seed=1))
    assert len(validation) == validating
    assert sorted(training + validation) == list(range(count))
    assert (training, validation) == tuple(part.tolist() for part in split(count, share, seed=1))
