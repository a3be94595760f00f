"""A model of the hub that is not trained is refused by name, with the reason, by every command alike."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.model_source import ModelSpec
from finetune_operator.api.validation import InvalidManifestsError
from finetune_operator.cli import finetune
from finetune_operator.core.capacity.published import PUBLISHED

JOB = """\
apiVersion: finetune.dev/v1alpha1
kind: FineTuneJob
metadata: {{name: faq}}
spec:
  model: {{uri: hf://{repository}}}
  dataset: {{uri: datasets/faq.jsonl}}
  training: {{steps: 10}}
  storage: {{claimName: shared}}
"""


@pytest.mark.parametrize("command", ["validate", "plan"])
@pytest.mark.parametrize(
    ("repository", "reason", "instead"),
    [
        ("deepseek-ai/DeepSeek-V3.2-Exp", "tokens that an indexer picks", "DeepSeek-V3.1-Terminus"),
        ("deepseek-ai/DeepSeek-V3.2", "tokens that an indexer picks", "DeepSeek-V3.1-Terminus"),
        ("zai-org/GLM-5", "tokens that an indexer picks", "DeepSeek-V3.1-Terminus"),
        ("zai-org/GLM-5-FP8", "tokens that an indexer picks", "DeepSeek-V3.1-Terminus"),
        ("deepseek-ai/DeepSeek-V4", "compresses keys and values", "DeepSeek-V3.1"),
        ("moonshotai/Kimi-K2-Thinking", "INT4 (compressed-tensors)", "Kimi-K2-Instruct-0905"),
        ("moonshotai/Kimi-Linear-48B-A3B-Instruct", "linear attention", "GLM-4.7-Flash"),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", "linear attention", "GLM-4.7-Flash"),
        ("moonshotai/Kimi-VL-A3B-Instruct", "read images", "GLM-4.7-Flash"),
        ("moonshotai/Kimi-K2.5", "read images", "GLM-4.7-Flash"),
        ("deepseek-ai/deepseek-vl2", "read images", "GLM-4.7-Flash"),
        ("meituan-longcat/LongCat-Flash-Chat", "two attentions a layer", "DeepSeek-V3.1"),
        ("zai-org/GLM-4.7", "attention is not latent", "GLM-4.7-Flash"),
        ("zai-org/GLM-4.5-Air", "attention is not latent", "GLM-4.7-Flash"),
        ("meta-llama/Llama-3.1-8B-Instruct", "attention is not latent", "PEFT"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "attention is not latent", "PEFT"),
        ("Qwen/Qwen3-30B-A3B", "attention is not latent", "PEFT"),
        ("Qwen/Qwen2.5-7B-Instruct", "attention is not latent", "PEFT"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "attention is not latent", "PEFT"),
        ("zai-org/GLM-4.6V", "read images", "GLM-4.7-Flash"),
        ("moonshotai/Kimi-K2.6", "read images", "GLM-4.7-Flash"),
        ("moonshotai/Kimi-Dev-72B", "attention is not latent", "PEFT"),
        ("THUDM/glm-4-9b-chat", "attention is not latent", "PEFT"),
        ("deepseek-ai/deepseek-coder-33b-instruct", "attention is not latent", "PEFT"),
        ("openai/gpt-oss-20b", "attention is not latent", "PEFT"),
        ("DEEPSEEK-AI/deepseek-v3.2", "tokens that an indexer picks", "DeepSeek-V3.1-Terminus"),
    ],
)
def test_is_refused_by_name_in_one_line(
    tmp_path: Path, command: str, repository: str, reason: str, instead: str
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(JOB.format(repository=repository))
    result = CliRunner().invoke(finetune, [command, "-f", str(file)])
    assert isinstance(result.exception, InvalidManifestsError)
    (line,) = result.exception.errors
    assert line.startswith(f"{file}:5: spec.model.uri: ")
    assert reason in line
    assert instead in line


@pytest.mark.parametrize(
    "uri",
    [
        *(f"hf://{repository}" for repository in PUBLISHED),
        "hf://ai-sage/GigaChat3-10B-A1.8B-bf16",
        "hf://acme/Llama-like-DeepSeek",
        "hf://acme/DeepSeek-V3.2",
        "hf://deepseek-ai/DeepSeek-Coder-V2-Lite-Instruct",
        "hf://deepseek-ai/DeepSeek-Prover-V2-671B",
        "hf://moonshotai/Kimi-K2-Instruct",
        "models/meta-llama/Llama-3.1-8B",
    ],
)
def test_others_are_not(uri: str) -> None:
    assert not field_errors(ModelSpec, {"uri": uri})
