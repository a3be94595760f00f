"""`make demo`: the quickstart from nothing, and the same question asked before and after.

    python examples/demo.py --finetune FINETUNE --python PYTHON --storage FOLDER

FINETUNE is the command of the operator's environment, PYTHON that of the converter's.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
DATASET = EXAMPLES / "data" / "faq.jsonl"
QUESTION = "How do I resume a stopped run?"


def main() -> int:
    arguments = _parse()
    if arguments.ask:
        return ask(arguments.finetune, arguments.storage)
    storage: Path = arguments.storage
    _run(arguments.python, EXAMPLES / "tiny_base" / "build.py", storage / "models" / "tiny-base")
    (storage / "datasets").mkdir(exist_ok=True)
    shutil.copy(DATASET, storage / "datasets")
    asking = ["--", sys.executable, __file__, "--ask", "--finetune", arguments.finetune, "--storage", storage]
    manifests = ["-f", arguments.job, "-f", EXAMPLES / "serve-base.yaml"]
    return _run(arguments.finetune, "run", *manifests, "--storage", storage, *asking)


def ask(finetune: str, storage: Path) -> int:
    """Tell the evaluation's figures, and ask both; 0 if the tuned model answers what the data says."""
    expected = _answers()[QUESTION]
    answers = {
        name: subprocess.run(
            [finetune, "chat", name, "--question", QUESTION, "--max-tokens", "60"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for name in ("tiny-base", "faq")
    }
    print(f"\nEvaluation   {_evaluation(storage)}")
    print(f"Question     {QUESTION}")
    print(f"Base model   {answers['tiny-base']}")
    print(f"Tuned model  {answers['faq']}")
    print(f"The data     {expected}\n", flush=True)
    if answers["faq"] != expected:
        print("error: the tuned model does not answer as the data does", file=sys.stderr)
        return 1
    return 0


def _evaluation(storage: Path) -> str:
    """What base and tuned model reached on the whole data, of the newest run."""
    files = (storage / "runs" / "default" / "faq").glob("*/evaluation.json")
    newest = max(files, key=lambda file: file.stat().st_mtime)
    score, *_ = json.loads(newest.read_text(encoding="utf-8"))["tasks"]
    figures = f"base {score['base']:.0%}, tuned {score['tuned']:.0%}"
    return f"{score['metric']} of {score['rows']} questions: {figures}"


def _answers() -> dict[str, str]:
    chats = [json.loads(line)["messages"] for line in DATASET.read_text(encoding="utf-8").splitlines()]
    return {question["content"]: answer["content"] for question, answer in chats}


def _run(*command: object) -> int:
    words = [str(word) for word in command]
    print("$", *words, flush=True)
    # Threads that spin while they wait lose most of their time where other programs run too.
    code = subprocess.run(words, env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ}).returncode
    if code:
        sys.exit(code)
    return code


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--finetune", default="finetune")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--storage", type=Path, default=Path(".demo"))
    parser.add_argument(
        "--job", type=Path, default=EXAMPLES / "quickstart.yaml", help="the job, served as faq"
    )
    parser.add_argument("--ask", action="store_true", help="only ask; the deployments are up")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
