"""The step before a server of adapters in folders: that vLLM applies all of each."""

from finetune_operator.api.container import ADAPTERS
from finetune_operator.core.capacity.host import CONVERSION
from finetune_operator.core.config import Config
from finetune_operator.core.pod import VOLUME_ROOT, ContainerSpec, claim_mount
from finetune_operator.serving.model import ServedModel


def adapter_check(model: ServedModel, config: Config) -> tuple[ContainerSpec, ...]:
    """Return the init container that looks into adapters; a job's are known by its lora.targets."""
    folders = [f"{VOLUME_ROOT}/{adapter.path}" for adapter in model.adapters if adapter.rank is None]
    if not folders:
        return ()
    return (
        ContainerSpec(
            name=ADAPTERS,
            image=config.images.converter,
            image_pull_policy=config.image_pull_policy,
            command=("finetune-convert", "check-adapters"),
            args=tuple(folders),
            requests=CONVERSION.requests,
            mounts=(claim_mount(read_only=True),),
            overridable_resources=False,
        ),
    )
