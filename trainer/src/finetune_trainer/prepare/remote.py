"""Where a model, an adapter or a task's data are fetched from."""

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.prepare.bucket import BucketSource
from finetune_trainer.prepare.hub import HubSource, Kind
from finetune_trainer.prepare.source import Source, parse_location


def remote_folder(uri: str, revision: str | None, field: str, kind: Kind = "model") -> Source | None:
    """A repository of the hub or a bucket's folder; None for a path in the volume.

    Raises ConfigurationError naming `field`.
    """
    location = parse_location(uri, field)
    if location.scheme == "hf":
        if location.path:
            raise ConfigurationError(f"{field}: {uri} names a file; give the repository")
        return HubSource(location.container, revision, kind)
    return BucketSource(location.container, location.path) if location.scheme == "s3" else None
