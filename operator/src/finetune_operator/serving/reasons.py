"""Reasons of the conditions, beside the messages that go with them."""

from enum import StrEnum


class ServingReason(StrEnum):
    """Why a condition is as it is."""

    JOB_NOT_FOUND = "FineTuneJobNotFound"
    JOB_NOT_COMPLETE = "FineTuneJobNotComplete"
    JOB_FAILED = "FineTuneJobFailed"
    JOB_HAS_NO_MODEL = "FineTuneJobHasNoModel"
    ADAPTER_NOT_TRAINED = "AdapterNotTrained"
    NO_CHECKPOINT = "CheckpointNotSaved"
    CHECKPOINTS_BARE = "CheckpointsWithoutAdapter"
    ADAPTER_ELSEWHERE = "AdapterInAnotherVolume"
    ADAPTER_NOT_SERVED = "AdapterNotAppliedByVLLM"
    NO_LEADER_WORKER_SETS = "LeaderWorkerSetNotInstalled"
    NO_HTTP_ROUTES = "HTTPRouteNotInstalled"
    NO_SCALED_OBJECTS = "KedaNotInstalled"
    NOT_EVALUATED = "FineTuneJobNotEvaluated"
    ADAPTERS_READY = "AdaptersReady"
    ADAPTERS_LOADING = "AdaptersLoading"
    ADAPTER_REFUSED = "AdapterRefused"
    WAITING = "Waiting"
    LOADING = "Loading"
    SERVING = "Serving"
    CRASHING = "Crashing"
    NOT_READY_IN_TIME = "NotReadyInTime"
    ROLLED_BACK = "RolledBack"
    CANARY = "Canary"
    CANARY_FAILED = "CanaryFailed"
    SCALED_TO_ZERO = "ScaledToZero"


MESSAGES = {
    ServingReason.JOB_NOT_FOUND: "Waits for FineTuneJob {job}, which is not there",
    ServingReason.JOB_NOT_COMPLETE: "Waits for FineTuneJob {job} to be Complete: {standing}",
    ServingReason.JOB_FAILED: "FineTuneJob {job} failed: {message}",
    ServingReason.JOB_HAS_NO_MODEL: "FineTuneJob {job} has export.adapterOnly and no merged model; "
    "serve its base with adapters, or set adapterOnly to false",
    ServingReason.ADAPTER_NOT_TRAINED: "Waits for FineTuneJob {job} to be Trained: {standing}",
    ServingReason.NO_CHECKPOINT: "Waits for FineTuneJob {job} to save a checkpoint: {standing}",
    ServingReason.CHECKPOINTS_BARE: "The checkpoints of FineTuneJob {job} hold no adapter to be "
    "served: set its training.checkpoint.adapters first, or remove checkpoint and wait for its end",
    ServingReason.ADAPTER_ELSEWHERE: "The adapter of FineTuneJob {job} is in the volume {theirs}, "
    "the model in {ours}; give both the same storage.claimName",
    ServingReason.ADAPTER_NOT_SERVED: "The adapter of FineTuneJob {job} cannot be served: {message}",
    ServingReason.NO_LEADER_WORKER_SETS: "A server on {nodes} nodes is a LeaderWorkerSet, and this cluster "
    "has no leaderworkerset.x-k8s.io/v1: install it (https://lws.sigs.k8s.io), or set nodes to 1",
    ServingReason.NO_HTTP_ROUTES: "A canary has its requests by an HTTPRoute, and this cluster has no "
    "gateway.networking.k8s.io/v1: install Gateway API (https://gateway-api.sigs.k8s.io) and a Gateway, "
    "or remove rollout.canary",
    ServingReason.NO_SCALED_OBJECTS: "autoscaling.prometheus is KEDA's to ask, and this cluster has no "
    "keda.sh/v1alpha1: install KEDA (https://keda.sh), or remove autoscaling.prometheus, and a "
    "HorizontalPodAutoscaler scales",
    ServingReason.NOT_EVALUATED: "FineTuneJob {job} has no evaluation, and "
    "rollout.canary.analysis.requireEvaluation asks for one: set the job's evaluation, or turn it off",
    ServingReason.ADAPTERS_READY: "Every replica has every adapter",
    ServingReason.ADAPTERS_LOADING: "{having} of {replicas} replicas have the adapter {name}",
    ServingReason.ADAPTER_REFUSED: "{pod} refuses the adapter {name}: {message}",
    ServingReason.WAITING: "The server waits: {why}; {ready} of {replicas} replicas are ready",
    ServingReason.LOADING: "The server loads {path}; {ready} of {replicas} replicas are ready",
    ServingReason.SERVING: "{ready} of {replicas} replicas answer",
    ServingReason.CRASHING: "The server ends with exit code {code}: {message}",
    ServingReason.NOT_READY_IN_TIME: "The server was not ready in time; {why}",
    ServingReason.ROLLED_BACK: "The server of {path} was not ready in time; {before} is served again, "
    "and {ready} of {replicas} replicas answer. The next change of spec or model is tried",
    ServingReason.CANARY: "The canary of {path} has {weight} of 100 requests, and {before} the others: {why}",
    ServingReason.CANARY_FAILED: "The canary of {path} was given up: {why}. {before} is served, "
    "and {ready} of {replicas} replicas answer. The next change of spec or model is tried",
    ServingReason.SCALED_TO_ZERO: "replicas is 0",
}
