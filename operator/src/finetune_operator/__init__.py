"""The controller, the command-line client and the Python client.

from finetune_operator import Client, FineTuneJob, ModelDeployment
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune_operator.api.deployment import ModelDeployment
    from finetune_operator.api.errors import FinetuneError
    from finetune_operator.api.job import FineTuneJob
    from finetune_operator.api.validation import InvalidManifestsError
    from finetune_operator.client.client import Client, RunFailedError
    from finetune_operator.client.conversation import Conversation

__all__ = [
    "Client",
    "Conversation",
    "FineTuneJob",
    "FinetuneError",
    "InvalidManifestsError",
    "ModelDeployment",
    "RunFailedError",
]

_MODULES = {
    "Client": "client.client",
    "Conversation": "client.conversation",
    "FineTuneJob": "api.job",
    "FinetuneError": "api.errors",
    "InvalidManifestsError": "api.validation",
    "ModelDeployment": "api.deployment",
    "RunFailedError": "client.client",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the controller has no use for the client, nor commands for all of it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
