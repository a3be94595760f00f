"""What a server answers to GET /adapters: see served_adapters.py, which runs in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError

MAX_ANSWER_BYTES = 2**18


@dataclass(frozen=True, kw_only=True)
class ServerAdapters:
    """The adapters of one server, by their names."""

    paths: Mapping[str, str] = field(default_factory=dict)
    """Those that it has, and their folders in the volume."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why it has not the others."""


class InvalidAdaptersError(Exception):
    """The answer is something else."""


class _Adapter(BaseModel):
    name: str
    path: str
    message: str = ""


class _Answer(BaseModel):
    adapters: list[_Adapter]
    refused: list[_Adapter] = []


def parse_adapters(body: bytes) -> ServerAdapters:
    """Return what an answer says. Raises InvalidAdaptersError."""
    if len(body) > MAX_ANSWER_BYTES:
        raise InvalidAdaptersError(f"more than {MAX_ANSWER_BYTES} bytes")
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError as error:
        raise InvalidAdaptersError(str(error)) from None
    return ServerAdapters(
        paths={each.name: each.path for each in answer.adapters},
        refused={each.name: each.message for each in answer.refused},
    )
