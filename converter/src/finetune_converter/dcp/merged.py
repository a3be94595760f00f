"""A torchtitan step folder as a model to serve, in one go: adapter, merge and gate."""

from pathlib import Path

from finetune_converter.dcp.export import export_dcp
from finetune_converter.dcp.own_base import base_for
from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import publish
from finetune_converter.merge.merge import default_workers
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype


def merge_dcp(
    *, checkpoint: Path, base: Path, out: Path, alpha: float | None, dtype: Dtype, flavor: str | None = None
) -> Path:
    """Write `out`, which appears once the gate has passed it; the adapter, which is kept beside it.

    Raises Failure(SettingInvalid) for a checkpoint without LoRA keys, which is a model already.
    """
    # transformers takes seconds to import, and only the gate needs it.
    from finetune_converter.verify.stage import verify_folders

    if out.exists():
        raise Failure(f"--out: {out} is there already", Reason.SETTING_INVALID, "Give a new folder")
    base = base_for(checkpoint=checkpoint, base=base, flavor=flavor, out=out)
    adapter, unproven = out.with_name(f"{out.name}.adapter"), out.with_name(f"{out.name}.unproven")
    if (
        not adapter.exists()
        and export_dcp(checkpoint=checkpoint, base=base, out=adapter, alpha=alpha) == "model"
    ):
        publish(adapter, out.with_name(f"{out.name}.model"))
        raise Failure(
            f"--merge: {checkpoint} holds no LoRA matrices: it is a model, and is now in {out}.model",
            Reason.SETTING_INVALID,
            "Use that folder, or give the step that holds them",
        )
    if not unproven.exists():
        merge_folders(base=base, adapter=adapter, out=unproven, dtype=dtype, workers=default_workers())
    verify_folders(base=base, adapter=adapter, merged=unproven, dtype=str(dtype))
    publish(unproven, out)
    return adapter
