"""The run: its id, its folders in the volume, and run.json, which every container reads.

The contract is in contract/README.md.
"""

import re
from typing import Any

from finetune_operator.api.job import FineTuneJob, FineTuneJobSpec
from finetune_operator.core.digest import run_id
from finetune_operator.core.objects import Manifest

SCHEMA_VERSION = 1
_SECRETS = {"token_secret_ref"}
_PUSH_SECRETS = {"push": {"credentials_secret_ref"}}
_SCHEME = re.compile(r"^(hf|s3)://")


def run_file(job: FineTuneJob) -> Manifest:
    """Return the content of run.json."""
    what_trains = _what_trains(job.spec, exclude_defaults=True)
    # By how many pods the weights are merged, and where they go, decides nothing about them.
    for name in ("shards", "push"):
        what_trains["export"].pop(name, None)
    what_trains["model"].pop("verify", None)  # nor does what is looked at before
    run = run_id(what_trains)
    return {
        "schemaVersion": SCHEMA_VERSION,
        "namespace": job.metadata.namespace,
        "name": job.metadata.name,
        "run": run,
        "paths": {
            "base": source_path("models", job.spec.model.uri, job.spec.model.revision),
            "dataset": source_path("datasets", job.spec.dataset.uri, None),
            "run": f"runs/{job.metadata.namespace}/{job.metadata.name}/{run}",
        },
        **_what_trains(job.spec),
    }


def source_path(folder: str, uri: str, revision: str | None) -> str:
    """Return where a source is in the volume; a path is one already.

    A remote source gets a folder by its name and revision, so that jobs share it:
    hf://deepseek-ai/DeepSeek-V3 at main is models/deepseek-ai--DeepSeek-V3@main.
    """
    if not _SCHEME.match(uri):
        return uri
    name = _SCHEME.sub("", uri).strip("/").replace("/", "--")
    revision = (revision or "main").replace("/", "--")
    return f"{folder}/{name}@{revision}" if uri.startswith("hf://") else f"{folder}/{name}"


def _what_trains(spec: FineTuneJobSpec, *, exclude_defaults: bool = False) -> dict[str, Any]:
    """Return the part of run.json that decides the weights that come out.

    Without defaults, its hash is the run's id: a field that a later version of the operator adds has its
    default in every job that exists, and must not make that job train again.
    """

    def dump(model: Any, **options: Any) -> Any:
        return model.model_dump(mode="json", by_alias=True, exclude_defaults=exclude_defaults, **options)

    training = dump(spec.training)
    workers = spec.workers
    training["globalBatchSize"] = spec.training.global_batch_size or (
        spec.training.micro_batch_size * spec.training.parallelism.data_degree(workers.world_size)
    )
    return {
        "model": dump(spec.model, exclude=_SECRETS),
        "flavor": spec.flavor,
        "dataset": dump(spec.dataset, exclude=_SECRETS),
        "lora": dump(spec.lora),
        "training": training,
        "workers": {"nodes": workers.nodes, "processesPerNode": workers.processes, "device": workers.device},
        "export": dump(spec.export, exclude=_PUSH_SECRETS),
    }
