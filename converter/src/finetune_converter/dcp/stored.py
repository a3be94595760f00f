"""A checkpoint's tensors by their names in Hugging Face's format, all of which the base must have."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from finetune_converter.dcp.folder import DcpFolder
from finetune_converter.dcp.metadata import NAME, StoredTensor
from finetune_converter.dcp.names import hf_names, is_training_state, plain_name
from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.model_folder import INDEX, SINGLE, ModelFolder

Stored = Mapping[str, tuple[StoredTensor, int | None]]
_REMEDY = "Give the base that this checkpoint was trained on"


def check_is_dcp(folder: Path) -> None:
    """Raises Failure(CheckpointInvalid) for a folder that is no DCP step folder, naming what it is."""
    if (folder / NAME).is_file():
        return
    steps = sorted(path.name for path in folder.glob("step-*") if path.is_dir()) if folder.is_dir() else []
    fault, remedy = "no such file", "Give a step folder that torchtitan wrote, whole"
    if steps:
        fault, remedy = (
            f"missing: this folder holds {len(steps)} steps",
            f"Give one, such as {folder / steps[-1]}",
        )
    elif any(folder.glob("layer-*.safetensors")):
        fault, remedy = "missing: this is a checkpoint of this project", "Give its adapter/ to merge instead"
    elif any(folder.glob("adapter_model*")):
        fault, remedy = "missing: this is a PEFT adapter", "Give it to merge instead"
    elif (folder / "sharded").is_dir() or any(folder.glob("*.safetensors")):
        fault, remedy = (
            "missing: this is a step in Hugging Face format whose files are not whole",
            ("Write it again with checkpoint.last_save_in_hf until model.safetensors.index.json is there"),
        )
    raise Failure(f"{folder / NAME}: {fault}", Reason.CHECKPOINT_INVALID, remedy)


def is_hugging_face(folder: Path) -> bool:
    """Whether a step was written with checkpoint.last_save_in_hf, and its files are whole."""
    return not (folder / NAME).is_file() and any((folder / name).is_file() for name in (INDEX, SINGLE))


def lora_names(source: DcpFolder) -> list[str]:
    """The checkpoint's names of LoRA matrices."""
    names = (name for name in source.tensors if not is_training_state(plain_name(name)))
    return sorted(name for name in names if ".lora_" in name or "_lora_" in name)


def stored_tensors(source: DcpFolder, base: ModelFolder) -> Stored:
    """Raises Failure(CheckpointInvalid) for a weight that is twice there, or not in the base."""
    lora = set(lora_names(source))
    found: dict[str, tuple[StoredTensor, int | None]] = {}
    for tensor in source.tensors.values():
        if tensor.name in lora or is_training_state(plain_name(tensor.name)):
            continue
        for name, expert in _names(source, tensor, base):
            if name in found:
                raise _failed(source, tensor.name, f"says the same as {found[name][0].name!r}")
            found[name] = tensor, expert
    return found


def _names(source: DcpFolder, tensor: StoredTensor, base: ModelFolder) -> Iterator[tuple[str, int | None]]:
    experts = int(base.config.get("n_routed_experts") or 0)
    names = [*hf_names(plain_name(tensor.name), experts, int(base.config["num_hidden_layers"]))]
    unknown = [name for name, _ in names if name not in base.tensors]
    if not names or unknown:
        said = f" ({unknown[0]!r})" if unknown else ""
        raise _failed(
            source, tensor.name, f"the base has no such tensor{said}: the checkpoint holds more than it"
        )
    if names[0][1] is not None and tensor.shape[0] != experts:
        raise _failed(source, tensor.name, f"it holds {tensor.shape[0]} experts, the base {experts}")
    yield from names


def _failed(source: DcpFolder, name: str, fault: str) -> Failure:
    return Failure(f"{source.path}: tensor {name!r}: {fault}", Reason.CHECKPOINT_INVALID, _REMEDY)
