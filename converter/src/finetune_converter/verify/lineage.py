"""What a merged folder says that it was made of, in MANIFEST.json and in its card."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.digest import digest_file
from finetune_converter.marker import MARKER
from finetune_converter.model_files.manifest import (
    NAME,
    Lineage,
    lineage_content,
    lineage_from,
    read_manifest,
    sha256_of,
)
from finetune_converter.model_files.model_card import CARD, NOTE, model_card
from finetune_converter.verify.gate import failed
from finetune_converter.verify.peft_reference import WEIGHTS

Json = Mapping[str, Any]
_KEYS = frozenset({"schemaVersion", "tool", "inputs", "lineage", "files"})
_OF_LINEAGE = lineage_content(
    Lineage(base="", base_revision=None, base_marker_sha256=None, adapter_sha256="", dtype="")
)
"""Of folders that were merged without a run."""
_IDENTITY = frozenset({"namespace", "name", "run"})
_MAY_CHANGE = ("model.verify", "export.shards", "export.push", "evaluation")
"""Of a job that has started (docs/guides/what-may-change.md), and so between its merge and its gate."""
_GIVE = "Give the base, adapter and dtype that it was merged of, or merge again"


def check_lineage(base: Path, adapter: Path, merged: Path, dtype: str, run: Json | None) -> None:
    """MANIFEST.json and the card name this base, adapter, dtype and run file. Raises Failure.

    run: the document of the run that is verified; None for folders given one by one.
    """
    weights = adapter / WEIGHTS
    if not weights.is_file():
        raise Failure(f"{weights}: no such file", Reason.ADAPTER_MISSING, "Give the adapter's folder")
    manifest = read_manifest(merged)
    if manifest.get("schemaVersion") != 1:
        raise failed(f"{merged / NAME}: schemaVersion is {manifest.get('schemaVersion')!r}, not 1")
    for fault in _faults_of_keys(manifest):
        raise failed(f"{merged / NAME}: {fault}")
    lineage = manifest["lineage"]
    if lineage["adapterSha256"] != digest_file(weights).sha256:
        raise failed(f"{merged}: it was merged from another adapter than {adapter}", _GIVE)
    if lineage["dtype"] != dtype:
        raise failed(f"{merged / NAME}: it was exported as {lineage['dtype']!r}, not as {dtype!r}", _GIVE)
    for fault in _faults_of_run(manifest, run) if lineage["run"] else _faults_of_folders(lineage, base, run):
        raise failed(f"{merged / NAME}: {fault}", _GIVE)
    if run is not None:
        _check_marker(merged, lineage, base)
    _check_card(merged, manifest)


def _faults_of_keys(manifest: Json) -> Iterator[str]:
    """Keys that it lacks, or that no merge writes."""
    lineage = manifest.get("lineage")
    of_base = lineage.get("base") if isinstance(lineage, dict) else None
    for where, found, keys in (
        ("", manifest, _KEYS),
        ("lineage.", lineage, _OF_LINEAGE.keys()),
        ("lineage.base.", of_base, _OF_LINEAGE["base"].keys()),
    ):
        if not isinstance(found, dict):
            yield f"{where.removesuffix('.')} is {found!r:.100}, not an object"
            return
        for name in sorted(found.keys() ^ keys):
            yield f"{where}{name} {'is unknown' if name in found else 'is missing'}"


def _faults_of_run(manifest: Json, run: Json | None) -> Iterator[str]:
    """Of a merge in a run: it was of this run file, and says the same of the base as that does."""
    lineage = manifest["lineage"]
    said = lineage["run"]
    for path in _differences(said, run) if run is not None else ():
        yield f"lineage.run is of another run file than the one that is verified: {path} differs"
    model = said.get("model") if isinstance(said, dict) else None
    for name in ("uri", "revision"):
        named = model.get(name) if isinstance(model, dict) else None
        if lineage["base"][name] != named:
            yield f"lineage.base.{name} is {lineage['base'][name]!r:.200}, and its run's is {named!r:.200}"


def _differences(said: Any, run: Json) -> Iterator[str]:
    """Fields of which the two run files say different things, but for those that may change of a run.

    What only one of them has is of another version of the operator, which may take over between two stages.
    """
    if not isinstance(said, dict) or not said.keys() >= _IDENTITY:
        yield from sorted(_IDENTITY)
        return
    found, known = dict(_leaves(said)), dict(_leaves(run))
    for path in sorted(found.keys() & known.keys()):
        if found[path] != known[path] and not path.startswith(_MAY_CHANGE):
            yield path


def _leaves(document: Json, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _faults_of_folders(lineage: Json, base: Path, run: Json | None) -> Iterator[str]:
    """Of a merge of folders: it names the base by its folder, and neither a run nor its data."""
    uri, of_base = lineage["base"]["uri"], lineage["base"]
    if run is not None:
        yield "lineage.run is missing: it was not merged in this run"
    if not isinstance(uri, str) or "://" in uri or Path(uri).resolve() != base.resolve():
        yield f"lineage.base.uri is {uri!r:.200}, not {str(base.absolute())!r}"
    expected = {"revision": None, "markerSha256": sha256_of(base / MARKER)}
    for name, value in expected.items():
        if of_base[name] != value:
            yield f"lineage.base.{name} is {of_base[name]!r:.200}, not {value!r}"
    for name in ("run", "datasetSha256", "selection", "training"):
        if lineage[name] != _OF_LINEAGE[name]:
            yield f"lineage.{name} is {lineage[name]!r:.200}, and folders were merged, without a run"


def _check_marker(merged: Path, lineage: Json, base: Path) -> None:
    if lineage["base"]["markerSha256"] != sha256_of(base / MARKER):
        raise failed(f"{merged / NAME}: lineage.base.markerSha256 is not the sha256 of {base / MARKER}")


def _check_card(merged: Path, manifest: Json) -> None:
    """The card is what a merge writes of this lineage, and notes below it."""
    card, expected = merged / CARD, _card_of(merged, manifest)
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    if not text.startswith(expected) or not all(
        line.startswith(NOTE) for line in text.removeprefix(expected).splitlines()
    ):
        raise failed(f"{card}: is not the card of this merge: it says something else than {NAME}")


def _card_of(merged: Path, manifest: Json) -> str:
    """Without notes."""
    try:
        return model_card(lineage_from(manifest["lineage"]), manifest["tool"]["version"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise failed(f"{merged / NAME}: its lineage cannot be told in a card: {error!r:.200}") from error
