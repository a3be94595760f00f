"""The ConfigMap that holds run.json."""

import json

from finetune_operator.api.job import FineTuneJob
from finetune_operator.api.run_file import RunFile
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.children.names import Names, child_metadata

RUN_FILE = "run.json"
RUN_FOLDER = "/etc/finetune"


def desired_config_map(job: FineTuneJob, names: Names, run_file: RunFile) -> Manifest:
    """Return the ConfigMap of a run and its settings. It never changes: others have another."""
    content = run_file.model_dump(mode="json", by_alias=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(job, names.config_map, "run", names.run),
        "immutable": True,
        "data": {RUN_FILE: json.dumps(content, indent=2, ensure_ascii=False) + "\n"},
    }
