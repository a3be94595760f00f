"""config.json files as their makers publish them on the Hugging Face hub: ORG--NAME.json each."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "published"
NAMES = sorted(file.stem for file in FOLDER.glob("*.json"))


def published_config(name: str) -> dict[str, Any]:
    """The config.json of ORG--NAME."""
    config: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return config
