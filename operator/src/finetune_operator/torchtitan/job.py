"""The FineTuneJob that trains as a configuration of torchtitan's says, and what of it has no counterpart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune_operator.api import API_VERSION
from finetune_operator.api.field_errors import dotted, field_errors
from finetune_operator.api.job import FineTuneJob
from finetune_operator.torchtitan.keys import (
    CHANGES_NOTHING,
    DEFAULTS,
    FIELDS,
    NO_COUNTERPART,
    OMITTED,
    OVERRIDES,
)
from finetune_operator.torchtitan.sources import FLAVORS, base_of, dataset_of, name_of

_RECOMPUTE = {"none": "none", "selective": "selective", "full": "full"}
_SCHEDULES = {"linear": "linear", "cosine": "cosine"}
_DTYPES = {"float32": "base", "bfloat16": "bfloat16", "float16": "float16"}
_UNTRAINED = ("gate", "router.gate", "lm_head", "output")
_NOT_SETTINGS = frozenset(
    {
        "hf_assets_path",
        "model_spec.flavor",
        "model_spec.name",
        "checkpoint.initial_load_path",
        "dataloader.dataset",
        "dataloader.dataset_path",
    }
)
_ORDER = ("model", "flavor", "dataset", "lora", "training", "workers", "storage", "export")
_PROCESSES, _RANK, _ALPHA = 8, 16, 32.0
"""run_train.sh's NGPU, and LoRA's rank and alpha in the flavours named _lora."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the command line says, and a configuration of torchtitan's does not, or says otherwise."""

    name: str | None = None
    model: str | None = None
    dataset: str | None = None
    flavor: str | None = None
    claim: str | None = None
    nodes: int | None = None
    gpus_per_node: int | None = None
    rank: int | None = None
    alpha: float | None = None


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A manifest, and what its reader has to know."""

    manifest: dict[str, Any]
    notes: tuple[str, ...]


class NotImportedError(Exception):
    """Everything that stands in the way, a line each."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = tuple(errors)


@dataclass
class _Draft:
    """A manifest while it is written: `spelled` is how the file spells a key, for what is said of it."""

    spelled: Mapping[str, str]
    spec: dict[str, Any] = field(default_factory=dict)
    from_key: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def set(self, path: str, value: Any, key: str = "") -> None:
        *owners, name = path.split(".")
        target = self.spec
        for owner in owners:
            target = target.setdefault(owner, {})
        target[name] = value
        self.from_key[f"spec.{path}"] = self.spelled.get(key, key)

    def note(self, key: str, text: str) -> None:
        self.notes.append(f"{self.spelled.get(key, key)}: {text}")

    def refuse(self, key: str, text: str) -> None:
        self.errors.append(f"{self.spelled.get(key, key)}: {text}")


def job_of(keys: Mapping[str, Any], spelled: Mapping[str, str], stem: str, choices: Choices) -> Imported:
    """Return the job of a configuration whose file is called `stem`. Raises NotImportedError."""
    draft = _Draft(spelled)
    _set_sources(draft, keys, choices)
    _set_lora(draft, keys, choices)
    for key, path in FIELDS.items():
        if not key.startswith("lora."):
            _set_field(draft, key, path, keys)
    _set_schedule(draft, keys)
    _set_workers(draft, choices)
    _note_the_rest(draft, keys)
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "FineTuneJob",
        "metadata": {"name": choices.name or name_of(stem)},
        "spec": {name: draft.spec[name] for name in _ORDER if name in draft.spec},
    }
    errors = draft.errors or [*_invalid(draft, manifest)]
    if errors:
        raise NotImportedError(errors)
    return Imported(manifest=manifest, notes=tuple(draft.notes))


def _invalid(draft: _Draft, manifest: dict[str, Any]) -> Iterator[str]:
    for error in field_errors(FineTuneJob, manifest):
        path = dotted(error.path)
        key = draft.from_key.get(path)
        yield f"{key}: {path} {error.problem}; {error.remedy}" if key else str(error)


def _set_sources(draft: _Draft, keys: Mapping[str, Any], choices: Choices) -> None:
    name, flavor = keys.get("model_spec.name", "deepseek_v3"), keys.get("model_spec.flavor")
    if name != "deepseek_v3":
        draft.refuse("model_spec.name", f"is {name!r}; only deepseek_v3 is trained here")
    base, said = base_of(keys, choices.model)
    dataset, asked = dataset_of(keys, choices.dataset)
    for path, value, key, text in (
        ("model.uri", base, "hf_assets_path", said),
        ("dataset.uri", dataset, "dataloader.dataset", asked),
    ):
        if value is None:
            draft.refuse(key, text)
            continue
        draft.set(path, value, key)
        if text:
            draft.note(key, text)
    known = choices.flavor or FLAVORS.get(str(flavor))
    if known is None:
        draft.note(
            "model_spec.flavor", f"{flavor!r} has no counterpart: the base's own config.json says its size"
        )
    else:
        draft.set("flavor", known, "model_spec.flavor")
    if known and known != flavor:
        draft.note(
            "model_spec.flavor", f"{flavor!r} becomes {known}: adapters are trained, and never all weights"
        )
    draft.set("storage.claimName", choices.claim or "models")
    if choices.claim is None:
        draft.note("storage", "the claim is called models; give --claim for yours")


def _set_lora(draft: _Draft, keys: Mapping[str, Any], choices: Choices) -> None:
    for key, given, default in (("lora.rank", choices.rank, _RANK), ("lora.alpha", choices.alpha, _ALPHA)):
        value = given if given is not None else keys.get(key)
        if isinstance(value, list):
            draft.refuse(key, f"differs from layer to layer ({value}); give --{key[5:]}")
        elif value is None:
            draft.set(key, default)
            draft.note(
                key, f"is not in the file: {default:g}, the flavours' own; give --{key[5:]} for another"
            )
        else:
            draft.set(key, value, key)
    if (dropout := keys.get("lora.dropout")) not in (None, *OMITTED["lora.dropout"]):
        draft.set("lora.dropout", dropout, "lora.dropout")
    targets = keys.get("lora.target_modules")
    if isinstance(targets, list):
        trained = [target for target in targets if target not in _UNTRAINED]
        draft.set("lora.targets", trained, "lora.target_modules")
        if trained != targets:
            left = ", ".join(target for target in targets if target in _UNTRAINED)
            draft.note("lora.target_modules", f"{left} get no adapters here")
    elif targets is None:
        draft.set("lora.targets", ["attention"])
        draft.note("lora.target_modules", "is not in the file: attention; name others in lora.targets")


def _set_field(draft: _Draft, key: str, path: str, keys: Mapping[str, Any]) -> None:
    if key not in keys and key not in DEFAULTS:
        return
    value = keys.get(key, DEFAULTS.get(key))
    if key in OMITTED and value in OMITTED[key]:
        return
    if key not in keys:
        draft.note(key, f"is not in the file: {value}, torchtitan's default")
    translated = _translated(draft, key, value)
    if translated is not None:
        draft.set(path, translated, key)


def _translated(draft: _Draft, key: str, value: Any) -> Any:
    """Return a value as the spec has it; None, and a line that says why, where it has none."""
    tables = {
        "activation_checkpoint.mode": _RECOMPUTE,
        "lr_scheduler.decay_type": _SCHEDULES,
        "checkpoint.export_dtype": _DTYPES,
    }
    if key in tables:
        found = tables[key].get(value) if isinstance(value, str) else None
        if found is None:
            draft.refuse(
                key, f"is {value!r}, which has no counterpart; make it one of {', '.join(tables[key])}"
            )
        if key == "checkpoint.export_dtype" and value != "bfloat16":
            draft.note(key, _DTYPE_NOTES.get(str(value), ""))
        return found
    if key == "checkpoint.keep_latest_k" and value == 0:
        draft.note(key, "0 keeps every checkpoint; here the newest 1,000 stay")
        return 1000
    is_whole = isinstance(value, float) and value.is_integer() and key in ("training.steps",)
    return int(value) if is_whole else value


_DTYPE_NOTES = {
    "float32": "weights are exported as the base has them, never in float32",
    "float16": "float16 overflows on this model family, which ends the merge: bfloat16 or float8 are safe",
}


def _set_schedule(draft: _Draft, keys: Mapping[str, Any]) -> None:
    training = draft.spec.get("training", {})
    steps, warmup = training.get("steps"), training.get("warmupSteps")
    if isinstance(steps, int) and isinstance(warmup, int) and warmup >= steps > 1:
        draft.set("training.warmupSteps", steps - 1, "lr_scheduler.warmup_steps")
        draft.note(
            "lr_scheduler.warmup_steps", f"{warmup} is as long as the training: {steps - 1} of {steps} steps"
        )
    if keys.get("lr_scheduler.decay_ratio") == 0:
        draft.set("training.schedule", "constant", "lr_scheduler.decay_ratio")


def _set_workers(draft: _Draft, choices: Choices) -> None:
    draft.set("workers.nodes", choices.nodes or 1)
    draft.set("workers.gpusPerNode", choices.gpus_per_node or _PROCESSES)
    if choices.nodes is None or choices.gpus_per_node is None:
        draft.note(
            "workers", "torchrun's nodes and processes are not in the file: give --nodes and --gpus-per-node"
        )


def _note_the_rest(draft: _Draft, keys: Mapping[str, Any]) -> None:
    nothing = []
    for key, value in keys.items():
        if key in FIELDS or key in _NOT_SETTINGS:
            continue
        if key in OVERRIDES:
            if value not in OVERRIDES[key] and not (key == "lr_scheduler.decay_ratio" and value == 0):
                overrides = draft.spec.setdefault("training", {}).setdefault("overrides", {})
                overrides[key] = value
            continue
        kept, instead = NO_COUNTERPART.get(key, ((), ""))
        if key in NO_COUNTERPART:
            if value not in kept:
                draft.note(key, f"{value!r} has no counterpart: {instead}")
        elif key.startswith(CHANGES_NOTHING):
            nothing.append(draft.spelled.get(key, key))
        else:
            draft.note(key, f"{value!r} is not carried: no setting of torchtitan's that is known here")
    if nothing:
        draft.notes.append(f"not carried, as they change nothing that is trained: {', '.join(nothing)}")
