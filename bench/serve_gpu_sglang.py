"""SGLang of the same base on the same GPU, after the operator's server and `vllm serve`; then these again."""

from collections.abc import Mapping

import serve_gpu_manifests as manifests
from serve_gpu_asked import Asked
from serve_gpu_processes import Place
from serve_gpus_compared import FEW, FEW_LONG, LONG, OURS, PLAIN, SHORT, load_in_turn

SGLANG = "sglang"
STORAGE = PLAIN
"""Whose base it reads."""
READY = "The server is fired up and ready to roll"
READY_SECONDS, SECONDS = 240, 21
TURNS = [(SGLANG, load) for load in (FEW, FEW_LONG, SHORT, LONG)] + [(OURS, SHORT), (PLAIN, SHORT)]
RESERVED = READY_SECONDS + len(TURNS) * (SECONDS + 6)
"""Seconds."""
# Of what two other servers leave. DeepGEMM and FlashInfer, which a first start compiles, none of them uses.
SHARE = ["--mem-fraction-static", "0.35", "--cuda-graph-max-bs-decode", "64", "--sampling-backend", "pytorch"]
SHARE += ["--attention-backend", "fa3", "--context-length", str(manifests.LENGTH)]
NOTHING_COMPILED = {"SGLANG_ENABLE_JIT_DEEPGEMM": "0"}


def is_installed(place: Place) -> bool:
    """Whether there is an environment of it."""
    return place.program(SGLANG, "python").exists()


def compare_with_sglang(place: Place, others: Mapping[str, Asked], arguments: tuple[str, ...] = ()) -> None:
    """What it answers, and each load once."""
    command = [place.program(SGLANG, "python"), "-m", "sglang.launch_server", *SHARE, *arguments]
    command += ["--model-path", place.storage(STORAGE) / "models/base", "--served-model-name", SGLANG]
    with place.listening(SGLANG, command, READY, **NOTHING_COMPILED) as asked:
        asked.wait(READY_SECONDS)
        place.keep(f"{SGLANG} ready", asked.figures())
        asked.chat()
        load_in_turn(place, {**others, SGLANG: asked}, TURNS, seconds=SECONDS, reserved=0)
