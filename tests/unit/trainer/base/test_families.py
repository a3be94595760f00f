"""The guide of models says what the families say; the operator knows the sizes of models that they name."""

from pathlib import Path

import pytest

from finetune_operator.core.capacity.published import PUBLISHED
from finetune_trainer.base.families import FAMILIES, REFUSED
from finetune_trainer.base.families.guide import CHAIN, PARTS, SERVED, models_guide, with_table

ROOT = Path(__file__).parents[4]


def test_the_guide_is_what_the_families_say() -> None:
    assert (ROOT / "docs/guides/models.md").read_text() == models_guide(), "run `make generate`"


def test_the_readme_has_the_table_of_models() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme == with_table(readme), "run `make generate`"


@pytest.mark.parametrize("file", [CHAIN, SERVED, *PARTS])
def test_the_guide_names_tests_that_are_there(file: str) -> None:
    assert (ROOT / file).is_file()


def test_the_operator_knows_the_models_that_are_trained() -> None:
    named = {
        name.lower() for family in FAMILIES.values() for model in family.models for name in model.repositories
    }
    # Of GigaChat3 no config.json is at hand: prepare tells how large it is.
    assert named - PUBLISHED.keys() == {"ai-sage/gigachat3-10b-a1.8b-bf16"}
    assert PUBLISHED.keys() <= named


def test_what_is_trained_is_not_refused() -> None:
    assert not FAMILIES.keys() & REFUSED.keys()
