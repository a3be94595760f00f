"""The step before a server: that its model is signed, and is what was signed."""

from finetune_operator.api.container import SIGNATURE
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.capacity.host import CONVERSION
from finetune_operator.core.config import Config
from finetune_operator.core.pod import ContainerSpec, claim_mount, env_from_config_map
from finetune_operator.serving.model import ServedModel

PUBLIC_KEY = "MODEL_PUBLIC_KEY"


def signature_check(
    deployment: ModelDeployment, model: ServedModel, config: Config
) -> tuple[ContainerSpec, ...]:
    """Return the init container that checks the model's signature; none where nobody asked for it."""
    wanted = deployment.spec.model.verify_signature
    if wanted is None:
        return ()
    return (
        ContainerSpec(
            name=SIGNATURE,
            image=config.images.converter,
            image_pull_policy=config.image_pull_policy,
            command=("finetune-convert", "check"),
            args=(model.folder, "--signed"),
            env=(env_from_config_map(PUBLIC_KEY, wanted.public_key_config_map_ref),),
            requests=CONVERSION.requests,
            mounts=(claim_mount(read_only=True),),
            overridable_resources=False,
        ),
    )
