"""Shares: which source each sequence is of, found at once, and kept to at every point of a run."""

import itertools
from collections import Counter
from fractions import Fraction

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_trainer.data.document import Document
from finetune_trainer.data.loader import PackedDataLoader
from finetune_trainer.data.mixture import Mixture, Part
from finetune_trainer.data.packing import Members, SequenceOrder, pack
from finetune_trainer.data.store import TokenStore


def part(sequences, trained_tokens, share=None):
    return Part(sequences=sequences, trained_tokens=trained_tokens, share=share)


shares = st.floats(0.01, 100, allow_nan=False)
shared_parts = st.lists(
    st.builds(part, st.integers(1, 40), st.integers(1, 9000), shares), min_size=1, max_size=6
)
plain_parts = st.lists(st.builds(part, st.integers(1, 40), st.integers(1, 9000)), min_size=1, max_size=6)


def one_after_the_other(parts, count):
    """Webster's method as it is told: the next seat goes to the greatest weight / (2 k + 1)."""
    had = [0] * len(parts)
    for _ in range(count):
        number = max(range(len(parts)), key=lambda n: (parts[n].weight / (2 * had[n] + 1), -n))
        yield number, had[number]
        had[number] += 1


@given(parts=shared_parts | plain_parts)
@settings(deadline=None, max_examples=60)
def test_a_sequence_is_found_without_those_before_it(parts):
    mixture, expected = Mixture(parts), list(one_after_the_other(parts, 200))
    assert [mixture[index] for index in range(200)] == expected
    for count in (1, 7, 200):
        had = Counter(number for number, _ in expected[:count])
        wanted = [had[number] / own.sequences for number, own in enumerate(parts)]
        assert mixture.passes(count) == wanted


@given(parts=plain_parts)
def test_without_shares_an_epoch_has_every_sequence_once(parts):
    mixture = Mixture(parts)
    assert mixture.epoch == sum(own.sequences for own in parts)
    taken = [mixture[index] for index in range(mixture.epoch)]
    assert sorted(taken) == [(n, k) for n, own in enumerate(parts) for k in range(own.sequences)]


@given(
    parts=st.lists(
        st.builds(part, st.integers(1, 9), st.integers(50, 99), st.floats(1, 3)), min_size=1, max_size=4
    )
)
@settings(deadline=None)
def test_in_an_epoch_every_sequence_comes_and_one_source_no_more_than_once(parts):
    mixture = Mixture(parts)
    taken = [mixture[index] for index in range(mixture.epoch)]
    assert {(n, own.sequences - 1) for n, own in enumerate(parts)} <= set(taken)
    passes = zip(mixture.passes(mixture.epoch), parts, strict=True)
    assert any(times * own.sequences <= own.sequences + 1 for times, own in passes)


@pytest.mark.parametrize(
    ("parts", "passes"),
    [
        pytest.param([part(10, 1000, 0.5), part(10, 1000, 0.5)], [1, 1], id="equal"),
        pytest.param([part(10, 1000, 3.0), part(10, 1000, 1.0)], [3, 1], id="three-to-one"),
        pytest.param([part(10, 1000, 0.75), part(10, 1000, 0.25)], [3, 1], id="the-same-as-fractions"),
        pytest.param([part(10, 1000, 0.5), part(10, 500, 0.5)], [1, 2], id="short-answers-come-more-often"),
        pytest.param([part(4, 1000, 0.2), part(100, 1000, 0.8)], [1, 4], id="not-by-sequences"),
    ],
)
def test_shares_are_of_the_tokens_that_the_loss_counts(parts, passes):
    mixture = Mixture(parts)
    found = mixture.passes(mixture.epoch)
    trained = [own.trained_tokens * times for own, times in zip(parts, found, strict=True)]
    wanted = [Fraction(str(own.share)) for own in parts]
    assert found == pytest.approx(passes, rel=0.06)
    for tokens, share in zip(trained, wanted, strict=True):
        assert tokens / sum(trained) == pytest.approx(float(share / sum(wanted)), abs=0.03)


def test_at_every_point_of_a_run_each_source_has_had_its_share():
    parts = [part(1000, 10**6, 0.7), part(50, 10**4, 0.2), part(400, 10**6, 0.1)]
    weights = [own.weight for own in parts]
    mixture, had = Mixture(parts), [0, 0, 0]
    for index in range(5000):
        had[mixture[index][0]] += 1
        quotas = [float((index + 1) * weight / sum(weights)) for weight in weights]
        assert all(abs(count - quota) < 1.5 for count, quota in zip(had, quotas, strict=True))


# Source 0: 12 documents of one length; source 1: 5 of another, of which half a document trains.
def documents():
    for line in range(1, 13):
        yield Document(tokens=[line] * 9, trained=[False] + [True] * 8, line=line)
    for line in range(13, 18):
        yield Document(tokens=[line] * 9, trained=[False] * 5 + [True] * 4, line=line)


@pytest.fixture
def packed(tmp_path):
    store = TokenStore.write(documents(), tmp_path)
    counts = [int(store.learned(0, 12).sum()), int(store.learned(12, 17).sum())]
    ranges = [torch.arange(12), torch.arange(12, 17)]
    sources = [
        Members(documents=own, trained_tokens=count, share=share)
        for own, count, share in zip(ranges, counts, (0.5, 0.5), strict=True)
    ]
    packing = pack(
        tmp_path / "training", lengths=store.lengths(), sources=sources, sequence_length=16, seed=1
    )
    return tmp_path, store, packing


def test_a_sequence_holds_documents_of_one_source_and_each_pass_all_of_them(packed):
    _, _, packing = packed
    order = SequenceOrder(packing, seed=3)
    assert [own.sequences for own in packing.parts] == [6, 3]
    assert [own.trained_tokens for own in packing.parts] == [96, 20]
    first, second = [], []
    for index in range(order.epoch):
        own = order[index]
        assert all(document < 12 for document in own) or all(document >= 12 for document in own)
        (first if own[0] < 12 else second).append(own)
    assert sorted(itertools.chain(*first)) == list(range(12))
    passes = [sorted(itertools.chain(*second[at : at + 3])) for at in range(0, len(second) // 3 * 3, 3)]
    assert len(passes) > 3
    assert all(own == list(range(12, 17)) for own in passes)
    assert second[:3] != second[3:6]


@pytest.mark.parametrize("taken", [1, 4, 11])
def test_a_run_resumes_anywhere_with_any_number_of_processes(packed, taken):
    folder, _, packing = packed
    epoch = SequenceOrder(packing, seed=0).epoch

    class EosOnly:
        eos_id = 99

    def loader(ranks, rank, batch):
        config = PackedDataLoader.Config(dataset_path=str(folder), epochs=2.0)
        return config.build(
            dp_world_size=ranks, dp_rank=rank, tokenizer=EosOnly(), seq_len=16, local_batch_size=batch
        )

    straight = [row for batch, _ in itertools.islice(loader(1, 0, 1), 2 * epoch) for row in batch["input"]]
    begun = loader(1, 0, 1)
    list(itertools.islice(begun, taken))
    ranks = [loader(2, rank, 2) for rank in range(2)]
    for own in ranks:
        own.load_state_dict(begun.state_dict())
    (first, _), (second, _) = (next(iter(own)) for own in ranks)
    rows = [*first["input"], *second["input"]]
    assert all(torch.equal(a, b) for a, b in zip(rows, straight[taken : taken + 4], strict=True))


@given(lengths=st.lists(st.lists(st.booleans(), min_size=2, max_size=9), min_size=1, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_learned_of_a_document_is_what_the_loss_counts(tmp_path, lengths, monkeypatch):
    monkeypatch.setattr("finetune_trainer.data.store._AT_ONCE", 3)
    documents = (Document(tokens=[1] * len(own), trained=own) for own in lengths)
    store = TokenStore.write(documents, tmp_path)
    assert store.learned(0, len(store)).tolist() == [sum(own[1:]) for own in lengths]
    assert store.learned(1, len(store)).tolist() == [sum(own[1:]) for own in lengths[1:]]
