"""Deterministic names of children, which every kind of object takes on every supported Kubernetes."""

import hashlib
import re

# An Indexed Job's pods have the host names NAME-INDEX: DNS labels, 63 characters; 1,024 nodes are the most.
MAX_NAME = 63 - len("-1023")
_HASH_DIGITS = 8
_PREFIX = "ft-"

# What a Service's name must be before Kubernetes 1.36 (KEP-5311). An object's own may have dots and
# begin with a digit: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
_DNS_1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def child_name(parent: str, *parts: str) -> str:
    """Return PARENT-PART-PART; a parent that is no DNS-1035 label, or too long, is changed and hashed.

    7b.v2 becomes ft-7b-v2-HASH.
    """
    suffix = "".join(f"-{part}" for part in parts)
    room = MAX_NAME - len(suffix)
    if _DNS_1035_LABEL.fullmatch(parent) and len(parent) <= room:
        return parent + suffix
    label = parent.replace(".", "-")
    if label[0].isdigit():
        label = _PREFIX + label
    digest = hashlib.sha256(parent.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{label[: room - _HASH_DIGITS - 1].rstrip('-')}-{digest}{suffix}"
