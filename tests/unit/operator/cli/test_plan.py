"""`finetune plan`: the table, and an exit code for scripts."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from finetune_operator.cli import finetune

EXAMPLES = Path(__file__).parents[4] / "examples"


def plan(*words: str) -> Result:
    files = [word for name in words[:2] if name.endswith(".yaml") for word in ("-f", str(EXAMPLES / name))]
    options = [word for word in words if not word.endswith(".yaml")]
    return CliRunner().invoke(finetune, ["plan", *files, *options])


def test_671b_on_4_nodes_and_its_server() -> None:
    result = plan("671b-4x8-h200.yaml", "serve-671b-tp8.yaml")
    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines()] == [
        line.split()
        for line in """\
FineTuneJob default/support-671b
WHAT                               NEEDS        OF  WHERE
Training                           60 GB    141 GB  each GPU
  frozen base in bfloat16          42 GB
  layers gathered by FSDP         6.6 GB
  adapters, gradients and AdamW    49 MB
  activations                     3.8 GB
  logits, or a layer at work      3.2 GB
  unevenly loaded experts         0.4 GB
  CUDA, NCCL and fragmentation    4.0 GB
Conversion                        1.5 GB            host memory of each process
  interpreter, torch and bands  1.5 GB
Storage                         1,382 GB            the volume
  base model in float8            689 GB
  merged model in float8          689 GB
  checkpoints and adapter         5.0 GB
It fits.

ModelDeployment default/support
WHAT                               NEEDS        OF  WHERE
Serving in float8                 673 GB  1,128 GB  8 GPUs
  weights in float8               673 GB
Serving                            99 GB    130 GB  each GPU, 0.92 of its 141 GB
  weights in float8                85 GB
  KV cache of 32,768 tokens       2.3 GB
  CUDA and NCCL                   3.6 GB
  activations of 8,192 tokens     1.2 GB
  graphs, as vLLM estimates them  6.0 GB
It fits.
KV cache: 476,612 tokens (what is left: 14.5 requests of 32,768 tokens at a time; maxModelLen is the longest)
parallelism: tensor 8 (the KV cache is whole on each GPU; dataParallelSize gives each GPU one of its own)
experts: whole, each on one GPU (as expertParallel says)
draft: none (--speculative-config turns it on, for few requests at a time and tokens that are accepted)
load format: auto (vLLM's own; instanttensor where the volume gives more than 5 GB/s)
largest batch: 8,192 tokens (longer prompts are read in pieces; --max-num-batched-tokens changes it)

""".splitlines()
    ]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(
            ("671b-4x8-h200.yaml", "--gpu-memory", "40G"),
            2,
            "It does not fit. Training needs 60 GB of the 40 GB of each GPU",
            id="it does not fit",
        ),
        pytest.param(
            ("serve-671b-tp8.yaml",),
            0,
            "The size of the model is not known",
            id="its job is not in the files",
        ),
        pytest.param(
            ("quickstart.yaml",),
            0,
            "How large models/tiny-base is, is not known before prepare reads",
            id="a folder",
        ),
        pytest.param(("aghilora-1gpu.yaml", "--gpu-memory", "80G"), 0, "It fits.", id="one GPU"),
        pytest.param(
            ("quickstart.yaml", "--gpu-memory", "a lot"), 2, "'a lot' is no quantity; use", id="no quantity"
        ),
    ],
)
def test_exit_codes(words: tuple[str, ...], code: int, says: str) -> None:
    result = plan(*words)
    assert (result.exit_code, says in result.output) == (code, True)
