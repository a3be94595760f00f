"""The merge: plan, disk, files in parallel, companions, manifest."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from finetune_converter.adapter.adapter import WEIGHTS, Adapter, entry_shapes, missing_adapter, open_adapter
from finetune_converter.checkpoint.hashed_writer import FileDigest, digest_file
from finetune_converter.checkpoint.model_folder import ModelFolder, open_model_folder
from finetune_converter.checkpoint.strict_json import read_json_object
from finetune_converter.failure import Failure, Reason
from finetune_converter.marker import base_digests
from finetune_converter.merge.companions import write_companions, write_json
from finetune_converter.merge.dtypes import Dtype
from finetune_converter.merge.manifest import NAME, Lineage, write_manifest
from finetune_converter.merge.plan import MergePlan, plan_merge
from finetune_converter.merge.shard import ShardWriter

Advance = Callable[[int, int], None]
_DONE = ".done"


@dataclass(frozen=True, kw_only=True)
class MergeJob:
    """A merge: two folders in, one out."""

    base: Path
    adapter: Path
    out: Path
    dtype: Dtype


def open_merge(job: MergeJob) -> tuple[ModelFolder, Adapter, MergePlan]:
    """Base, adapter and plan of a merge; the caller closes the first two. Raises Failure."""
    base = open_model_folder(job.base)
    try:
        shapes = entry_shapes({name: located.entry for name, located in base.tensors.items()})
        adapter = open_adapter(job.adapter, shapes)
        return base, adapter, plan_merge(base, adapter, job.dtype)
    except BaseException:
        base.close()
        raise


def merge(
    job: MergeJob, lineage: Lineage, *, workers: int = 1, advance: Advance = lambda _d, _t: None
) -> None:
    """Merge into `job.out`, whole when it has its MANIFEST.json; files finished before are kept.

    advance: told files done and files in all. Raises Failure.
    """
    if (job.out / NAME).is_file():
        return
    base, adapter, plan = open_merge(job)
    with base, adapter.file:
        job.out.mkdir(parents=True, exist_ok=True)
        (job.out / _DONE).mkdir(exist_ok=True)
        done = {name: digest for name in plan.files if (digest := _finished(job.out, name))}
        _check_disk(job.out, plan, done)
        advance(len(done), len(plan.files))
        left = [name for name in plan.files if name not in done]
        known = base_digests(job.base)
        for name, digest in _write_files(
            lambda: ShardWriter(plan, base, adapter, job.out), left, known, workers
        ):
            write_json(job.out / _DONE / f"{name}.json", {"sha256": digest.sha256, "size": digest.size})
            done[name] = digest
            advance(len(done), len(plan.files))
        for name in write_companions(plan, base, job.out):
            done[name] = digest_file(job.out / name)
    shutil.rmtree(job.out / _DONE)
    write_manifest(job.out, lineage, done)


def _write_files(
    writer: Callable[[], ShardWriter], names: list[str], known: Mapping[str, FileDigest], workers: int
) -> Iterator[tuple[str, FileDigest]]:
    """Write files side by side. Threads do: torch, pread, write and sha256 all work without the GIL."""
    with ThreadPoolExecutor(workers, thread_name_prefix="merge") as pool:
        futures = {pool.submit(writer().write, name, known.get(name)): name for name in names}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _finished(folder: Path, name: str) -> FileDigest | None:
    """The digest of a file that an earlier, interrupted merge finished."""
    record = folder / _DONE / f"{name}.json"
    if not record.is_file():
        return None
    content = read_json_object(record, Reason.STORAGE_ERROR, "Delete the folder and merge again")
    digest = FileDigest(sha256=content["sha256"], size=content["size"])
    return digest if (folder / name).is_file() and (folder / name).stat().st_size == digest.size else None


def _check_disk(folder: Path, plan: MergePlan, done: dict[str, FileDigest]) -> None:
    """Untouched files may turn out to be links; they are counted, as not every file system has them."""
    left = (
        output.spec.nbytes for name, outputs in plan.files.items() if name not in done for output in outputs
    )
    needed, free = sum(left), shutil.disk_usage(folder).free
    if needed > free:
        raise Failure(
            Reason.STORAGE_FULL,
            f"{folder}: the merged model needs {needed} bytes more, the volume has {free} free",
            "Free space or enlarge the volume, then run the same command: finished shards are kept",
        )


def adapter_digest(adapter: Path) -> str:
    """sha256 of the adapter's weights. Raises Failure(AdapterMissing)."""
    if not (adapter / WEIGHTS).is_file():
        raise missing_adapter(adapter)
    return digest_file(adapter / WEIGHTS).sha256


def default_workers() -> int:
    """Processes that this machine can keep busy."""
    return len(os.sched_getaffinity(0))


def publish(merging: Path, merged: Path) -> None:
    """Let the model appear, by one rename."""
    merging.rename(merged)
