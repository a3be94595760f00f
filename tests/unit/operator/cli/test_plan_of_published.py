"""`finetune plan` of published models, by their names alone: what fits where, without a cluster."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from finetune_operator.cli import finetune


def plan(folder: Path, repository: str, workers: dict[str, object], training: dict[str, object]) -> Result:
    job = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "faq"},
        "spec": {
            "model": {"uri": f"hf://{repository}"},
            "dataset": {"uri": "datasets/faq.jsonl"},
            "lora": {"rank": 16, "targets": ["attention"]},
            "training": {"steps": 10, "sequenceLength": 4096, "microBatchSize": 1, **training},
            "workers": workers,
            "storage": {"claimName": "models"},
        },
    }
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(job))
    return CliRunner().invoke(finetune, ["plan", "-f", str(file)])


H100 = {"gpusPerNode": 1, "gpuMemory": "80G"}
EXPERT = {"parallelism": {"expert": 8}}
FULL = EXPERT | {"recompute": "full"}
FLOAT8 = FULL | {"frozenDtype": "float8"}


@pytest.mark.parametrize(
    ("repository", "workers", "training", "needs", "says"),
    [
        pytest.param("zai-org/GLM-4.7-Flash", H100, {}, "77 GB", "It fits.", id="GLM-4.7-Flash, one H100"),
        pytest.param(
            "zai-org/GLM-4.7-Flash",
            H100,
            {"recompute": "full"},
            "68 GB",
            "It fits.",
            id="GLM-4.7-Flash, one H100, recomputing",
        ),
        pytest.param("moonshotai/Moonlight-16B-A3B", H100, {}, "43 GB", "It fits.", id="Moonlight, one H100"),
        pytest.param("deepseek-ai/DeepSeek-V2-Lite", H100, {}, "41 GB", "It fits.", id="V2-Lite, one H100"),
        pytest.param(
            "moonshotai/Kimi-K2-Instruct",
            {"nodes": 4, "gpusPerNode": 8},
            EXPERT,
            "167 GB",
            "set training.recompute to full, or set training.frozenDtype to float8",
            id="Kimi-K2, 4 nodes",
        ),
        pytest.param(
            "moonshotai/Kimi-K2-Instruct",
            {"nodes": 4, "gpusPerNode": 8},
            FULL,
            "84 GB",
            "It fits.",
            id="Kimi-K2, 4 nodes, recomputing",
        ),
        pytest.param(
            "moonshotai/Kimi-K2-Instruct-0905",
            {"nodes": 8, "gpusPerNode": 8},
            EXPERT,
            "134 GB",
            "It fits.",
            id="Kimi-K2-0905, 8 nodes",
        ),
        pytest.param(
            "moonshotai/Kimi-K2-Instruct",
            {"nodes": 8, "gpusPerNode": 8},
            FULL,
            "52 GB",
            "It fits.",
            id="Kimi-K2, 8 nodes, recomputing",
        ),
        pytest.param(
            "moonshotai/Kimi-K2-Instruct",
            {"nodes": 2, "gpusPerNode": 8},
            FLOAT8,
            "81 GB",
            "It fits.",
            id="Kimi-K2, 2 nodes, in FP8, recomputing",
        ),
    ],
)
def test_what_training_needs_of_each_gpu(
    tmp_path: Path,
    repository: str,
    workers: dict[str, object],
    training: dict[str, object],
    needs: str,
    says: str,
) -> None:
    result = plan(tmp_path, repository, workers, training)
    (line,) = [line for line in result.output.splitlines() if line.startswith("Training ")]
    assert (needs in line, says in result.output) == (True, True), result.output
    assert result.exit_code == (0 if says == "It fits." else 2)


@pytest.mark.parametrize(
    ("repository", "billions", "value_bytes"),
    [
        pytest.param("zai-org/GLM-4.7-Flash", 31, 2, id="GLM-4.7-Flash: the hub's count, with its MTP layer"),
        pytest.param("moonshotai/Moonlight-16B-A3B", 16, 2, id="Moonlight: its name"),
        pytest.param("deepseek-ai/DeepSeek-V2-Lite", 15.7, 2, id="V2-Lite: the paper, arXiv 2405.04434"),
        pytest.param("deepseek-ai/DeepSeek-V2.5", 236, 2, id="V2.5: its model card"),
        pytest.param("deepseek-ai/DeepSeek-V3", 685, 1, id="V3: its model card, with its MTP layer"),
        pytest.param("moonshotai/Kimi-K2-Instruct", 1027, 1, id="Kimi-K2: llama.cpp's log of it"),
    ],
)
def test_the_base_is_as_large_as_it_is_published(
    tmp_path: Path, repository: str, billions: float, value_bytes: int
) -> None:
    result = plan(tmp_path, repository, H100, {})
    (line,) = [line for line in result.output.splitlines() if line.startswith("  base model in ")]
    gigabytes = float(line.split()[-2].replace(",", ""))
    assert gigabytes == pytest.approx(billions * value_bytes, rel=0.02)  # it is told in whole GB
