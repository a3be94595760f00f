"""Names of children."""

import pytest

from finetune_operator.core.naming import MAX_NAME, child_name


@pytest.mark.parametrize(
    ("parent", "parts", "name"),
    [
        pytest.param("faq", (), "faq", id="short"),
        pytest.param("faq", ("3f2a9c1b", "train", "0"), "faq-3f2a9c1b-train-0", id="parts"),
        pytest.param("a.b", ("x",), "a-b-2e7336dc-x", id="dots are no part of a label"),
        pytest.param("a" * 58, (), "a" * 58, id="just fits"),
        pytest.param("a" * 59, (), "a" * 49 + "-111bb261", id="cut and told apart"),
    ],
)
def test_child_name(parent: str, parts: tuple[str, ...], name: str) -> None:
    assert child_name(parent, *parts) == name
    assert len(name) <= MAX_NAME


def test_long_parents_with_one_beginning_have_different_children() -> None:
    assert child_name("a" * 100 + "b", "x") != child_name("a" * 100 + "c", "x")
