"""The merge: plan, disk, files in parallel, companions, manifest."""

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from finetune_converter.adapter.adapter import WEIGHTS, Adapter, entry_shapes, missing_adapter, open_adapter
from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import write_json
from finetune_converter.files.digest import FileDigest, digest_file
from finetune_converter.marker import base_digests
from finetune_converter.merge.base import check_base
from finetune_converter.merge.companions import write_companions
from finetune_converter.merge.job import MergeJob
from finetune_converter.merge.plan import Carry, MergePlan, index_of, plan_merge
from finetune_converter.merge.resume import (
    FOLDER,
    finished,
    inputs_digest,
    is_whole,
    record,
    remove_strangers,
)
from finetune_converter.merge.shard import ShardWriter
from finetune_converter.model_files.duplicate import Method, cheapest_method
from finetune_converter.model_files.manifest import Lineage, tool_version, write_manifest
from finetune_converter.model_files.model_card import model_card
from finetune_converter.model_files.model_folder import INDEX, SINGLE, ModelFolder, open_model_folder

Advance = Callable[[int, int], None]
logger = logging.getLogger(__name__)
MAX_WORKERS = 4


def open_merge(job: MergeJob) -> tuple[ModelFolder, Adapter, MergePlan]:
    """Base, adapter and plan of a merge; the caller closes the first two. Raises Failure."""
    base = open_model_folder(job.base)
    try:
        check_base(base)
        shapes = entry_shapes({name: located.entry for name, located in base.tensors.items()})
        adapter = open_adapter(job.adapter, shapes, base.config)
        return base, adapter, plan_merge(base, adapter, job.dtype)
    except BaseException:
        base.close()
        raise


@dataclass(frozen=True, kw_only=True)
class Part:
    """The files of one process of several, `--shard index/count`; index counts from 0."""

    index: int = 0
    count: int = 1

    def names(self, plan: MergePlan) -> list[str]:
        """Its files: rewritten and untouched ones dealt out in turn, so that each process gets as many."""
        return sorted(plan.files, key=lambda name: (name in plan.untouched, name))[self.index :: self.count]


def merge(
    job: MergeJob,
    lineage: Lineage,
    *,
    workers: int = 1,
    part: Part | None = None,
    advance: Advance = lambda _d, _t: None,
) -> bool:
    """Merge into `job.out`; whether it is whole, with its MANIFEST.json. Files finished before are kept.

    With `part`, write only that part's files; a merge without it writes the rest and completes the folder.
    advance: told files done and files in all. Raises Failure.
    """
    inputs = inputs_digest(job, lineage.adapter_sha256)
    if is_whole(job.out, inputs):
        return True
    base, adapter, plan = open_merge(job)
    with base, adapter.file:
        (job.out / FOLDER).mkdir(parents=True, exist_ok=True)
        for note in plan.notes:
            logger.warning("%s", note)
        names = part.names(plan) if part else [*plan.files]
        done = {name: digest for name in names if (digest := finished(job.out, name, inputs))}
        left = sorted(
            (name for name in names if name not in done), key=lambda name: name not in plan.untouched
        )
        _check_disk(job.out, plan, job.base, left)
        advance(len(done), len(names))
        known = base_digests(job.base)
        for name, digest in _write_files(
            lambda: ShardWriter(plan, base, adapter, job.out), left, known, workers
        ):
            record(job.out, name, inputs, digest)
            done[name] = digest
            advance(len(done), len(names))
        if part:
            return False
        for name in _write_beside(plan, base, model_card(lineage, tool_version(), plan.notes), job.out):
            done[name] = digest_file(job.out / name)
    remove_strangers(job.out, done.keys())
    write_manifest(job.out, lineage, inputs, done)
    return True


def _write_beside(plan: MergePlan, base: ModelFolder, card: str, folder: Path) -> list[str]:
    """Everything that is no weight file; the names."""
    names = [*write_companions(plan.companions, card, folder), "config.json"]
    write_json(folder / "config.json", plan.config)
    if set(plan.files) != {SINGLE} or (base.path / INDEX).is_file():
        write_json(folder / INDEX, index_of(plan, base))
        names.append(INDEX)
    return names


def _write_files(
    writer: Callable[[], ShardWriter], names: list[str], known: Mapping[str, FileDigest], workers: int
) -> Iterator[tuple[str, FileDigest]]:
    """Write files side by side, and those that need no computing first, while torch is imported.

    Threads do: torch, pread, write and sha256 all work without the GIL.
    """
    stop = threading.Event()
    # Ahead: the bytes before the first computed tensor are carried over meanwhile.
    threading.Thread(target=import_module, args=("finetune_converter.merge.compute",)).start()

    def tick() -> None:
        if stop.is_set():
            raise CancelledError

    with ThreadPoolExecutor(workers, thread_name_prefix="merge") as pool:
        futures = {pool.submit(writer().write, name, known.get(name), tick): name for name in names}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            # The first failure, or SIGTERM: a file of several GB would outlast a pod's grace period.
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _check_disk(folder: Path, plan: MergePlan, base: Path, left: list[str]) -> None:
    needed = bytes_to_write(plan, left, cheapest_method(base / "config.json", folder))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Failure(
            f"{folder}: the merged model needs {needed} bytes more, the volume has {free} free",
            Reason.STORAGE_FULL,
            "Free space or enlarge the volume, then run the same command: finished shards are kept",
        )


def bytes_to_write(plan: MergePlan, names: Iterable[str], method: Method) -> int:
    """Bytes that the files take anew, by what the file system can share with the base."""
    return sum(_bytes_of(plan, name, method) for name in names)


def _bytes_of(plan: MergePlan, name: str, method: Method) -> int:
    if name in plan.untouched and method is not Method.COPY:
        return 0
    shared = name in plan.same_layout and method is Method.REFLINK
    return sum(
        output.spec.nbytes for output in plan.files[name] if not (shared and isinstance(output, Carry))
    )


def adapter_digest(adapter: Path) -> str:
    """sha256 of the adapter's weights. Raises Failure(AdapterMissing)."""
    if not (adapter / WEIGHTS).is_file():
        raise missing_adapter(adapter)
    return digest_file(adapter / WEIGHTS).sha256


def default_workers() -> int:
    """Files side by side: one a core, and no more than keep a fast disk busy in 1.5 GB of memory."""
    return min(MAX_WORKERS, len(os.sched_getaffinity(0)))
