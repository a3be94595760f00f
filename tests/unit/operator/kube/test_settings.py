"""The configuration file: every wrong field is named."""

from pathlib import Path

import pytest

from finetune_operator.kube.settings import InvalidSettingsError, Settings, load_settings


def test_the_defaults_are_used_without_a_file() -> None:
    assert load_settings(None) == Settings()


def test_what_the_file_says_reaches_the_builders(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("images: {trainer: acme/trainer:1}\nnamespaces: [a, b]\ncache: {claimName: kernels}\n")
    settings = load_settings(file)
    assert settings.config.images.trainer == "acme/trainer:1"
    assert settings.config.cache_claim == "kernels"
    assert settings.namespaces == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("log: {level: loud}", "log.level: is 'loud'", id="no such level"),
        pytest.param("ports: {health: 0}", "ports.health: is 0", id="no port"),
        pytest.param("namespace: a", "namespace: ", id="unknown field"),
        pytest.param("- a", "is no mapping", id="a list"),
        pytest.param("a: [", "cannot be read", id="no YAML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(InvalidSettingsError, match=problem):
        load_settings(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError, match="cannot be read"):
        load_settings(tmp_path / "absent.yaml")
