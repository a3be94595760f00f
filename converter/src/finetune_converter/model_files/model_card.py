"""README.md of the merged model: what it was made of and how it was trained, as Hugging Face reads it."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from finetune_converter.model_files.manifest import Lineage

CARD, BASE_CARD = "README.md", "BASE_README.md"
_HUB = "hf://"
NOTE = "- "


def model_card(lineage: Lineage, tool: str, notes: Iterable[str] = ()) -> str:
    """Front matter (huggingface.co/docs/hub/model-cards), a table of the lineage, and the notes.

    tool: the version that merged.
    """
    run = lineage.run or {}
    rows = [*_rows(lineage, run)]
    lines = [
        "---",
        *_front_matter(lineage),
        "---",
        f"# {run.get('name', 'Merged model')}",
        "",
        f"A LoRA adapter merged into its base by finetune-convert {tool}.",
        "MANIFEST.json holds the sha256 of every file and the whole configuration of the run.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {_cell(value)} |" for name, value in rows),
        *("", *(f"{NOTE}{_cell(note)}" for note in notes)),
    ]
    return "\n".join(lines) + "\n"


def _front_matter(lineage: Lineage) -> Iterator[str]:
    # A JSON string is a YAML string.
    if lineage.base.startswith(_HUB):
        yield f"base_model: {json.dumps(lineage.base.removeprefix(_HUB))}"
        yield "base_model_relation: finetune"
    yield "library_name: transformers"
    yield "pipeline_tag: text-generation"
    yield 'tags: ["lora", "finetune-operator"]'


def _rows(lineage: Lineage, run: dict[str, Any]) -> Iterator[tuple[str, str]]:
    revision = f" at {lineage.base_revision}" if lineage.base_revision else ""
    yield "base", f"{lineage.base}{revision}; its own card, if it has one, is {BASE_CARD}"
    yield "adapter", f"sha256 {lineage.adapter_sha256}"
    yield "weights", f"export.dtype {lineage.dtype}"
    if not run:
        return
    sources, lora, training = run["dataset"]["sources"], run["lora"], run["training"]
    named = "; ".join(f"{source['uri']}, split {source['split']}{_share(source)}" for source in sources)
    yield "dataset", f"{named}; sha256 {lineage.dataset_sha256}"
    yield "LoRA", f"rank {lora['rank']}, alpha {lora['alpha']}, targets {', '.join(lora['targets'])}"
    yield "step", f"{training['globalBatchSize']} sequences of {training['sequenceLength']} tokens"
    yield "learning rate", f"{training['learningRate']}, {training['schedule']}; seed {training['seed']}"
    yield "trained in", training["precision"]
    if chosen := lineage.selection:
        yield "exported step", f"{chosen['step']}: {chosen['why']}"
    for record in lineage.training:
        yield f"loss at step {record['step']}", f"{record['loss']:.4g}"
    for score in lineage.evaluation:
        figures = f"{score['metric']} {score['tuned']:.4g}, the base's {score['base']:.4g}"
        required = f"; required {score['required']}" if score["required"] else ""
        yield f"evaluation {score['task']}", f"{figures}, of {score['rows']} rows{required}"


def _share(source: dict[str, Any]) -> str:
    return "" if source["share"] is None else f", share {source['share']:g}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
