"""The two kinds, and what `kubectl get` shows of them."""

from finetune_operator.api.crd import Column, Resource
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.job import FineTuneJob

_AGE = Column(name="Age", type="date", json_path=".metadata.creationTimestamp")
_READY_MESSAGE = "Why it is as it is"

FINE_TUNE_JOB = Resource(
    model=FineTuneJob,
    plural="finetunejobs",
    short_name="ftj",
    columns=(
        Column(name="Phase", type="string", json_path=".status.phase"),
        Column(name="Step", type="integer", json_path=".status.progress.step"),
        Column(name="Of", type="integer", json_path=".status.progress.totalSteps"),
        Column(name="Loss", type="number", json_path=".status.progress.loss"),
        _AGE,
        Column(name="Flavor", type="string", json_path=".spec.flavor", priority=1),
        Column(name="Nodes", type="integer", json_path=".spec.workers.nodes", priority=1),
        Column(name="Tokens/s", type="number", json_path=".status.progress.tokensPerSecond", priority=1),
        Column(name="Restarts", type="integer", json_path=".status.restarts", priority=1),
        Column(
            name="Message",
            type="string",
            json_path='.status.conditions[?(@.type=="Complete")].message',
            description=_READY_MESSAGE,
            priority=1,
        ),
        Column(
            name="Failure",
            type="string",
            json_path='.status.conditions[?(@.type=="Failed")].message',
            description="Why it failed, or how often it was tried again",
            priority=1,
        ),
    ),
)
MODEL_DEPLOYMENT = Resource(
    model=ModelDeployment,
    plural="modeldeployments",
    short_name="mdep",
    scalable=True,
    columns=(
        Column(name="Phase", type="string", json_path=".status.phase"),
        Column(name="Ready", type="integer", json_path=".status.readyReplicas"),
        Column(name="Of", type="integer", json_path=".spec.replicas"),
        _AGE,
        Column(name="Endpoint", type="string", json_path=".status.endpoint", priority=1),
        Column(name="Model", type="string", json_path=".status.modelPath", priority=1),
        Column(
            name="Message",
            type="string",
            json_path='.status.conditions[?(@.type=="Available")].message',
            description=_READY_MESSAGE,
            priority=1,
        ),
    ),
)

RESOURCES = (FINE_TUNE_JOB, MODEL_DEPLOYMENT)
