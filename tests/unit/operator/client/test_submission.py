"""What is sent of what people submit: what they wrote, under the manifest's names."""

from pathlib import Path
from typing import Any

import pytest

from finetune_operator import FineTuneJob
from finetune_operator.client.submission import Submission, manifests_of

SPEC: dict[str, Any] = {
    "model": {"uri": "models/tiny"},
    "dataset": {"uri": "datasets/faq.jsonl"},
    "training": {"steps": 10, "learningRate": 0.004},
    "storage": {"claimName": "shared"},
}
MANIFEST: dict[str, Any] = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "faq"},
    "spec": SPEC,
}
IN_PYTHON = FineTuneJob(
    metadata={"name": "faq"},
    spec={
        **SPEC,
        "training": {"steps": 10, "learning_rate": 0.004},
        "storage": {"claim_name": "shared"},
    },
)
FILE = """\
apiVersion: finetune.dev/v1alpha1
kind: FineTuneJob
metadata: {name: faq}
spec:
  model: {uri: models/tiny}
  dataset: {uri: datasets/faq.jsonl}
  training: {steps: 10, learningRate: 0.004}
  storage: {claimName: shared}
status: {phase: Complete}
"""


@pytest.mark.parametrize(
    "submission",
    [
        pytest.param(IN_PYTHON, id="a model"),
        pytest.param(MANIFEST, id="a mapping"),
        pytest.param({**MANIFEST, "status": {"phase": "Complete"}}, id="a mapping with a status"),
        pytest.param("job.yaml", id="a file's name"),
        pytest.param(Path("job.yaml"), id="a path"),
    ],
)
def test_what_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, submission: Submission) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(FILE)
    assert manifests_of([submission]) == [MANIFEST]
