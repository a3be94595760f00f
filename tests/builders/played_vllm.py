"""A package `vllm` whose server answers by a table: what an evaluation does with answers needs no model.

That vLLM's own server is asked rightly, the quickstart in tests/chain shows.
"""

from pathlib import Path

_SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path({folder!r})
model = Path(sys.argv[sys.argv.index("--model") + 1])
plays = json.loads((FOLDER / "plays.json").read_text())
play = plays.get(model.name, plays.get("*", {{}}))
with (FOLDER / "starts").open("a") as starts:
    starts.write(model.name + "\\n")
if "dies" in play:
    sys.exit(play["dies"])


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(200, {{"data": [{{"max_model_len": 512}}]}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = json.dumps(body)
        if refused := next((word for word in play.get("refuses", ()) if word in asked), None):
            self.answer(400, {{"error": {{"message": "too long: " + refused}}}})
        elif self.path == "/tokenize":
            text = body.get("prompt") or "".join(m["content"] for m in body["messages"])
            self.answer(200, {{"tokens": [ord(letter) for letter in text]}})
        elif self.path == "/v1/completions":
            told = [{{str(token): {{"logprob": play["logprob"]}}}} for token in body["prompt"]]
            self.answer(200, {{"choices": [{{"prompt_logprobs": [None, *told[1:]]}}]}})
        else:
            question = body["messages"][-1]["content"]
            message = {{"content": play["answers"].get(question, "?")}}
            self.answer(200, {{"choices": [{{"message": message, "finish_reason": "stop"}}]}})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


port = int(sys.argv[sys.argv.index("--port") + 1])
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def write_played_vllm(folder: Path) -> Path:
    """The folder for PYTHONPATH; `plays.json` in it says what each model's folder answers, by its name."""
    package = folder / "vllm" / "entrypoints" / "launchers" / "api_server"
    package.mkdir(parents=True)
    for each in (package, *list(package.parents)[:3]):
        (each / "__init__.py").touch()
    (package / "entry.py").write_text(_SERVER.format(folder=str(folder)))
    return folder
