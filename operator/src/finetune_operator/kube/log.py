"""The operator's log: for people, or one JSON object per line for a log store."""

import json
import logging

from finetune_operator.kube.settings import LogSettings


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _says_something(record: logging.LogRecord) -> bool:
    """Return whether a record is no word of a watch that ends with the process.

    kopf 1.45's cannot be closed half-way: its infinite_watch goes on in streaming_block after a cancellation.
    """
    message = record.getMessage()
    return not ("closing of asynchronous generator" in message and "infinite_watch" in message)


def configure_log(settings: LogSettings) -> None:
    """Write everything from the settings' level on to standard error."""
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(_JsonFormatter() if settings.format == "json" else plain)
    logging.basicConfig(level=settings.level.upper(), handlers=[handler])
    # kopf tells of every handler that it calls.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
    logging.getLogger("asyncio").addFilter(_says_something)
