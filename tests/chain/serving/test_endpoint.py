"""What a user of the endpoint finds at vLLM: the guide's client, an answer as it comes, the metrics."""

import json
import re
import subprocess

import httpx
import pytest
from vllm_server import PYTHON, ROOT, VllmServer
from waiting import HANG_SECONDS

from finetune_operator.client.conversation import Conversation

pytestmark = pytest.mark.chain

QUESTION = "How do I suspend a job?"
GUIDE = (ROOT / "docs/guides/serving.md").read_text(encoding="utf-8")
DASHBOARD = (ROOT / "helm/finetune-operator/files/dashboard.json").read_text(encoding="utf-8")
# Of a server that drafts alone.
OF_DRAFTS = {"vllm:spec_decode_num_accepted_tokens_total", "vllm:spec_decode_num_draft_tokens_total"}


def test_the_guides_client_prints_the_answer(server: VllmServer) -> None:
    (example,) = (
        block for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "OpenAI(" in block
    )
    here = example.replace("http://support.ml:8000", server.url).replace('model="support"', 'model="model"')
    asked = here.replace("stream=True", "stream=True, temperature=0, max_tokens=32")
    done = subprocess.run([PYTHON, "-c", asked], capture_output=True, text=True, timeout=HANG_SECONDS)
    assert (done.returncode, done.stdout) == (0, server.chat(QUESTION)), done.stderr


def test_an_answer_comes_in_pieces(server: VllmServer) -> None:
    deployment = {"metadata": {"name": "model"}, "spec": {}}
    conversation = Conversation(server.url, deployment, None, {"max_tokens": 32, "temperature": 0})
    pieces = [piece for piece in conversation.stream(QUESTION) if piece]
    assert len(pieces) > 3
    assert "".join(pieces) == server.chat(QUESTION)


def test_every_metric_of_the_dashboard_and_of_the_guide_is_there(server: VllmServer) -> None:
    server.chat(QUESTION)
    told = httpx.get(f"{server.url}/metrics", timeout=HANG_SECONDS, trust_env=False).text
    there = set(re.findall(r"^(vllm:\w+)\{", told, re.MULTILINE))
    expressions = json.dumps(json.loads(DASHBOARD)["panels"])
    asked = set(re.findall(r"vllm:\w+", expressions)) | {"vllm:num_requests_waiting"}
    assert asked - there == OF_DRAFTS
