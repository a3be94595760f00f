"""Names of children."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.api.formats import OBJECT_NAME_PATTERN
from finetune_operator.core.naming import MAX_NAME, child_name


@pytest.mark.parametrize(
    ("parent", "parts", "name"),
    [
        pytest.param("faq", (), "faq", id="short"),
        pytest.param("faq", ("3f2a9c1b", "train", "0"), "faq-3f2a9c1b-train-0", id="parts"),
        pytest.param("a.b", ("x",), "a-b-2e7336dc-x", id="dots are no part of a label"),
        pytest.param("671b-lora", ("x",), "ft-671b-lora-76c86f28-x", id="a Service begins with a letter"),
        pytest.param("7b.v2", (), "ft-7b-v2-abddadf3", id="digit and dot"),
        pytest.param("a" * 58, (), "a" * 58, id="just fits"),
        pytest.param("a" * 59, (), "a" * 49 + "-111bb261", id="cut and told apart"),
    ],
)
def test_child_name(parent: str, parts: tuple[str, ...], name: str) -> None:
    assert child_name(parent, *parts) == name
    assert len(name) <= MAX_NAME


def test_long_parents_with_one_beginning_have_different_children() -> None:
    assert child_name("a" * 100 + "b", "x") != child_name("a" * 100 + "c", "x")


NAMES = st.from_regex(OBJECT_NAME_PATTERN.replace("$", r"\Z"), fullmatch=True).filter(lambda n: len(n) <= 253)


@given(NAMES, st.sampled_from([(), ("3f2a9c1b",), ("3f2a9c1b", "merge-shards", "1000")]))
def test_every_name_is_one_of_a_service(parent: str, parts: tuple[str, ...]) -> None:
    name = child_name(parent, *parts)
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= MAX_NAME


@given(NAMES, NAMES)
def test_no_two_parents_share_a_child(one: str, other: str) -> None:
    assert (child_name(one, "x") == child_name(other, "x")) == (one == other)
