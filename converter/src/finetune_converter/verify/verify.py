"""All checks of the gate, in the order of their cost, and what they measured."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from finetune_converter.merge.job import MergeJob
from finetune_converter.merge.merge import adapter_digest, open_merge
from finetune_converter.model_files.manifest import read_manifest
from finetune_converter.model_files.model_folder import open_model_folder
from finetune_converter.verify.files import check_config, check_files, check_keys
from finetune_converter.verify.gate import failed
from finetune_converter.verify.logits import compare_logits
from finetune_converter.verify.tensors import Models, TensorReport, check_tensors

Advance = Callable[[int, int], None]


def verify(job: MergeJob, prompts: list[list[int]], advance: Advance = lambda _d, _t: None) -> dict[str, Any]:
    """Check the merge in `job.out`; what was measured, for verification.json. Raises Failure."""
    manifest = read_manifest(job.out)
    if manifest["lineage"]["adapterSha256"] != adapter_digest(job.adapter):
        raise failed(f"{job.out}: it was merged from another adapter than {job.adapter}")
    base, adapter, plan = open_merge(job)
    with base, adapter.file, open_model_folder(job.out) as merged:
        models = Models(plan=plan, base=base, adapter=adapter, merged=merged)
        layers = int(base.config["num_hidden_layers"])
        tick = _counter(len(manifest["files"]) + sum(1 for _ in plan.outputs) + layers, advance)
        check_files(job.out, manifest, tick)
        check_keys(plan, merged)
        check_config(plan, job.out)
        tensors = check_tensors(models, tick)
        logits = compare_logits(models, prompts, tick)
    return {
        "schemaVersion": 1,
        "dtype": str(job.dtype),
        "files": len(manifest["files"]),
        "tensors": _tensor_report(tensors),
        "logits": {_camel(name): value for name, value in asdict(logits).items()},
    }


def _tensor_report(report: TensorReport) -> dict[str, Any]:
    return {
        "identical": report.identical,
        "adapted": report.adapted,
        "converted": report.converted,
        "kinds": {name: kind.to_json() for name, kind in sorted(report.kinds.items())},
    }


def _counter(total: int, advance: Advance) -> Callable[[], None]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        advance(done, total)

    return tick


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
