"""What the operator's log leaves out: words of a library that nobody can do anything about."""

import logging

import pytest

from finetune_operator.kube.log import configure_log
from finetune_operator.kube.settings import LogSettings

# As asyncio.BaseEventLoop.shutdown_asyncgens has it.
CLOSING = "an error occurred during closing of asynchronous generator <async_generator object {} at 0x7f>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(CLOSING.format("infinite_watch"), [], id="a watch that ends with the process"),
        pytest.param(CLOSING.format("list_each"), [CLOSING.format("list_each")], id="another generator"),
        pytest.param("Task exception was never retrieved", ["Task exception was never retrieved"], id="else"),
    ],
)
def test_a_watch_that_ends_with_the_process_says_nothing(
    text: str, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    configure_log(LogSettings())
    logging.getLogger("asyncio").error(text)
    assert [record.message for record in caplog.records] == said
