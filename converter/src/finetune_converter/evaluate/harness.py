"""A task of lm-eval, asked of a server that runs: by lm-eval itself, in a process that asks no hub."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from finetune_converter.evaluate.server import NAME, Server
from finetune_converter.evaluate.task import Question, Task
from finetune_converter.failure import Failure, Reason

_AT_ONCE = 32
_SECONDS = 24 * 3600


def ask_harness(server: Server, task: Task, question: Question) -> dict[str, Any]:
    """The figure, whether less of it is better, how many rows it is of, and lm-eval's samples.

    Raises Failure(EvaluationInvalid) with what lm-eval said last.
    """
    with tempfile.TemporaryDirectory() as scratch:
        order, answer = Path(scratch, "order.json"), Path(scratch, "answer.json")
        order.write_text(json.dumps(_order(server, task, question)))
        ended = subprocess.run(
            [sys.executable, "-m", "finetune_converter.evaluate.run_harness", str(order), str(answer)],
            env={**os.environ, **_offline(scratch)},
            cwd=scratch,  # where a metric's name cannot be the name of a program
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        print(ended.stderr, end="", file=sys.stderr, flush=True)
        if ended.returncode:
            server.wait()  # if it is the server that ended, that is the cause
            last = [line for line in ended.stderr.splitlines() if line.strip()] or ["no word"]
            raise Failure(
                f"evaluation.tasks {task.name}: {question['at']}: lm-eval ended with exit code "
                f"{ended.returncode}: {last[-1].strip()}",
                Reason.EVALUATION_INVALID,
                "Correct the task and its data, and apply the FineTuneJob under another name",
            )
        told: dict[str, Any] = json.loads(answer.read_text())
    return told


def _order(server: Server, task: Task, question: Question) -> dict[str, Any]:
    data = str(task.root / question["data"])
    named = question["task"]
    config: dict[str, Any] = {"task": named} if isinstance(named, str) else dict(named)
    if files := (config.get("dataset_kwargs") or {}).get("data_files"):
        config["dataset_kwargs"] = {"data_files": _within(data, files)}
    else:
        config["dataset_path"] = data
    return {
        "config": config,
        "own": not isinstance(named, str),
        "metric": question["metric"],
        "limit": question["limit"],
        "numFewshot": question["numFewshot"],
        "applyChatTemplate": question["applyChatTemplate"],
        "model": {
            "model": NAME,
            "base_url": f"{server.address}/completions",
            "tokenizer": str(server.model),
            "tokenizer_backend": "huggingface",
            "trust_remote_code": False,
            "max_length": server.longest,
            "num_concurrent": _AT_ONCE,
            "timeout": _SECONDS,
            # As where the model is run without a server: what its tokenizer puts before a text. A chat
            # template writes it itself.
            "add_bos_token": not question["applyChatTemplate"],
        },
    }


def _within(folder: str, files: Any) -> Any:
    if isinstance(files, dict):
        return {split: _within(folder, each) for split, each in files.items()}
    return [_within(folder, each) for each in files] if isinstance(files, list) else f"{folder}/{files}"


def _offline(scratch: str) -> dict[str, str]:
    return {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_EVALUATE_OFFLINE": "1",
        "HF_HOME": scratch,
        "TOKENIZERS_PARALLELISM": "false",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
