"""The merge of DeepSeek-V3 itself, planned: 163 files of real headers, sparse, so that no disk is needed.

Each plan is made in a process of its own, whose peak memory is the kernel's account of it. The gate runs for
real on one dense and one MoE layer of the full width, with an adapter on attention and every expert: sparse
files read as zeros.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from deepseek_v3 import DeepSeekV3, sparse, write_adapter, write_base
from report import write_report

GB_PER_SECOND = (1, 5, 20)
PROBE = """
import json, resource, sys, time
from pathlib import Path
from finetune_converter.model_files.duplicate import Method
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.merge.merge import bytes_to_write, open_merge
from finetune_converter.merge.plan import Carry
from finetune_converter.merge.job import MergeJob

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

base, adapter, dtype = sys.argv[1:]
imported, begin = peak(), time.monotonic()
job = MergeJob(base=Path(base), adapter=Path(adapter), out=Path(base), dtype=Dtype(dtype))
model, opened, plan = open_merge(job)
seconds = time.monotonic() - begin
sizes = {name: file.header.file_bytes for name, file in model.files.items()}
changed = sum(size for name, size in sizes.items() if name not in plan.untouched)
untouched = sum(sizes.values()) - changed
# A file is read whole for its sha256, even where parts are written; the marker has those of untouched files.
update = opened.file.header.file_bytes
print(json.dumps({
    "planSeconds": round(seconds, 2), "peakRssBytes": peak(), "peakRssBytesBeforePlan": imported,
    "files": len(plan.files), "filesUntouched": len(plan.untouched), "tensors": sum(1 for _ in plan.outputs),
    "tensorsComputed": sum(not isinstance(output, Carry) for output in plan.outputs),
    "baseBytes": sum(sizes.values()), "mergedTensorBytes": plan.total_size, "adapterBytes": update,
    "bytes": {
        str(method): {
            "read": changed + update + (untouched if method is Method.COPY else 0),
            "written": bytes_to_write(plan, plan.files, method),
        } for method in Method
    },
}))
"""
GATE = """
import json, resource, sys, time
from pathlib import Path
from finetune_converter.verify.logits import compare_logits
from finetune_converter.verify.prompts import MAX_TOKENS, PROMPTS, random_prompts
from finetune_converter.verify.tensors import check_tensors
from finetune_converter.verify.verify import Claim, open_models

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

imported, begin = peak(), time.monotonic()
base, adapter = map(Path, sys.argv[1:])
prompts = [(prompt * 2)[:MAX_TOKENS] for prompt in random_prompts(129280)]
assert len(prompts) == PROMPTS and {len(prompt) for prompt in prompts} == {MAX_TOKENS}
# Zeros and an adapter of zeros: the base itself is what a right merge of them is.
with open_models(Claim(base=base, adapter=adapter, merged=base, dtype="base")) as (models, config):
    opened = time.monotonic()
    measured = check_tensors(models)
    checked, peak_of_tensors = time.monotonic(), peak()
    compare_logits(models, config, prompts, lambda: None)
print(json.dumps({
    "layers": "one dense and one MoE layer of 256 experts, and the head", "tokens": PROMPTS * MAX_TOKENS,
    "peftSeconds": round(opened - begin, 1),
    "tensorsSeconds": round(checked - opened, 1), "elementsComputed": sum(one.elements for one in measured),
    "logitsSeconds": round(time.monotonic() - checked, 1),
    "peakRssBytesOfTensors": peak_of_tensors, "peakRssBytes": peak(), "peakRssBytesBefore": imported,
}))
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, shallow = DeepSeekV3(), DeepSeekV3(layers=2, dense_layers=1)
        base = write_base(folder / "base", model, sparse)
        adapters = {
            "attention": write_adapter(folder / "attention", model, sparse, experts=False),
            "attention and experts": write_adapter(folder / "everything", model, sparse, experts=True),
        }
        plans = {
            f"{targets}, dtype {dtype}": _with_hours(_probe(PROBE, base, adapter, dtype))
            for targets, adapter in adapters.items()
            for dtype in ("base", "bfloat16")
        }
        layers = write_base(folder / "shallow", shallow, sparse)
        adapter = write_adapter(folder / "shallow-adapter", shallow, sparse, experts=True)
        write_report(
            "merge-671b", {"plans": plans, "gate": _probe(GATE, layers, adapter)}, packages=("torch",)
        )


def _probe(code: str, *arguments: Any) -> dict[str, Any]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def _with_hours(plan: dict[str, Any]) -> dict[str, Any]:
    """Hours of a volume that moves so many GB a second, reads and writes together."""
    hours = {
        method: {
            f"{speed} GB/s": round((moved["read"] + moved["written"]) / (speed * 1e9) / 3600, 3)
            for speed in GB_PER_SECOND
        }
        for method, moved in plan["bytes"].items()
    }
    return {**plan, "hoursReadingAndWriting": hours}


if __name__ == "__main__":
    main()
