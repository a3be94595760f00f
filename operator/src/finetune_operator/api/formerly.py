"""What fields were called before: for who brings an older manifest, the field to write in its place."""

from typing import Any

# As it stood in YAML: a field with any value, or one value of a field that is still there.
FORMERLY = {
    "podTemplate": "write podOverrides",
    "restartPolicy": "write failurePolicy",
    "fineTuneJob": "write fineTuneJobRef: {{name: {value}}}",
    "gpusPerNode: 0": "remove it, and write device: cpu",
    "gpus: 0": "remove it, and write device: cpu",
}


def what_to_write_now(field: str | int, value: Any) -> str | None:
    """Return what to write in the place of a field that has another name now, or None."""
    remedy = FORMERLY.get(str(field)) or FORMERLY.get(f"{field}: {value}")
    return remedy.format(value=value) if remedy else None
