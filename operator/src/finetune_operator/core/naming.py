"""Deterministic names of children, never longer than a DNS label allows."""

import hashlib

# An Indexed Job's pods have the host names NAME-INDEX: DNS labels, 63 characters; 1,024 nodes are the most.
MAX_NAME = 63 - len("-1023")
_HASH_DIGITS = 8


def child_name(parent: str, *parts: str) -> str:
    """Return PARENT-PART-PART; a parent too long or dotted is cut, and told apart by a hash of it."""
    suffix = "".join(f"-{part}" for part in parts)
    label = parent.replace(".", "-")
    room = MAX_NAME - len(suffix)
    if label == parent and len(label) <= room:
        return label + suffix
    digest = hashlib.sha256(parent.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{label[: room - _HASH_DIGITS - 1].rstrip('-')}-{digest}{suffix}"
