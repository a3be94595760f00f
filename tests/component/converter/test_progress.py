"""What the converter says of itself, over real HTTP."""

import json
import socket
import urllib.request

import pytest

from finetune_converter.progress import Progress, serve_progress


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_both_families_of_addresses_are_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_PROGRESS_PORT", "0")
    with serve_progress(Progress("merge")) as port:
        for host in ("127.0.0.1", "[::1]"):
            with urllib.request.urlopen(f"http://{host}:{port}/progress", timeout=5) as answer:
                assert json.load(answer)["stage"] == "merge"


def test_metrics_have_the_names_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_PROGRESS_PORT", "0")
    progress = Progress("merge")
    with serve_progress(progress) as port:
        progress.advance(3, 10)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    assert 'finetune_step{stage="merge"} 3.0' in lines
    assert 'finetune_total_steps{stage="merge"} 10.0' in lines
    assert 'finetune_eta_seconds{stage="merge"} NaN' in lines
