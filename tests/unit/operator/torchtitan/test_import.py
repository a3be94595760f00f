"""What `finetune import` makes of torchtitan's configurations."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from finetune_operator.api.validation import load_manifests
from finetune_operator.cli import finetune
from finetune_operator.torchtitan.config_file import read_config_file
from finetune_operator.torchtitan.job import Choices, Imported, NotImportedError, job_of
from finetune_operator.torchtitan.keys import ALIASES, CHANGES_NOTHING, FIELDS, NO_COUNTERPART, OVERRIDES

CONFIGS = Path(__file__).parent / "configs"
LEAST = '[model]\nflavor = "671B_lora"\nhf_assets_path = "hf/V3"\n[training]\ndataset_path = "acme/chats"\n'


def imported(tmp_path: Path, text: str, **choices: Any) -> Imported:
    file = tmp_path / "config.toml"
    file.write_text(text)
    keys, spelled = read_config_file(file)
    return job_of(keys, spelled, "config", Choices(**choices))


def test_a_configuration_of_0_2() -> None:
    keys, spelled = read_config_file(CONFIGS / "lora_671b.toml")
    choices = Choices(model="hf://deepseek-ai/DeepSeek-V3.1-Base", dataset="hf://acme/chats", nodes=4)
    job = job_of(keys, spelled, "lora_671b", choices)
    assert job.manifest["metadata"] == {"name": "lora-671b"}
    assert job.manifest["spec"] == {
        "model": {"uri": "hf://deepseek-ai/DeepSeek-V3.1-Base"},
        "flavor": "671B_lora",
        "dataset": {"uri": "hf://acme/chats"},
        "lora": {"rank": 16, "alpha": 32.0, "targets": ["attention"]},
        "training": {
            "steps": 20,
            "learningRate": 2.2e-4,
            "weightDecay": 0.1,
            "maxGradNorm": 1.0,
            "warmupSteps": 10,
            "schedule": "cosine",
            "sequenceLength": 256,
            "microBatchSize": 2,
            "recompute": "none",
            "checkpoint": {"interval": 100, "keep": 10},
            "parallelism": {"expert": 8},
            "overrides": {
                "metrics.enable_wandb": True,
                "lr_scheduler.decay_ratio": 0.8,
                "lr_scheduler.min_lr_factor": 0.1,
            },
        },
        "workers": {"nodes": 4, "gpusPerNode": 8},
        "storage": {"claimName": "models"},
        "export": {"dtype": "float16"},
    }


def test_older_spellings() -> None:
    keys, spelled = read_config_file(CONFIGS / "deepseek_16b.toml")
    spec = job_of(keys, spelled, "deepseek_16b", Choices()).manifest["spec"]
    assert spec["model"] == {"uri": "models/deepseek-moe-16b-base"}
    assert (spec["flavor"], spec["dataset"]) == ("16B_lora", {"uri": "hf://acme/chats"})
    training = spec["training"]
    assert (training["microBatchSize"], training["seed"], training["recompute"]) == (8, 7, "full")


@pytest.mark.parametrize(
    ("lines", "path", "value"),
    [
        pytest.param("[training]\nsteps = 30", "training.steps", 30, id="steps"),
        pytest.param("[training]\nglobal_batch_size = 64", "training.globalBatchSize", 64, id="global batch"),
        pytest.param("[training]\nglobal_batch_size = -1", "training.globalBatchSize", None, id="no global"),
        pytest.param("[optimizer]\nlr = 1e-3", "training.learningRate", 1e-3, id="lr"),
        pytest.param("[lr_scheduler]\ndecay_ratio = 0.0", "training.schedule", "constant", id="constant"),
        pytest.param("[training]\nwarmup_steps = 3", "training.warmupSteps", 3, id="warm-up of old"),
        pytest.param("[training]\nsteps = 20", "training.warmupSteps", 19, id="warm-up beyond the end"),
        pytest.param(
            "[training]\nmixed_precision_param = 'float32'", "training.precision", "float32", id="float32"
        ),
        pytest.param("[debug]\nseed = 9", "training.seed", 9, id="seed of 0.3"),
        pytest.param("[training]\nseed = 9", "training.seed", 9, id="seed of 0.2"),
        pytest.param("[checkpoint]\nkeep_latest_k = 0", "training.checkpoint.keep", 1000, id="keep all"),
        pytest.param("[checkpoint]\nkeep_latest_k = 2", "training.checkpoint.keep", 2, id="keep"),
        pytest.param("[checkpoint]\nexport_dtype = 'bfloat16'", "export.dtype", "bfloat16", id="export"),
        pytest.param(
            "[checkpoint]\nexport_dtype = 'float32'", "export.dtype", "base", id="export as the base"
        ),
        pytest.param(
            "[parallelism]\ndata_parallel_shard_degree = 8", "training.parallelism.data", 8, id="FSDP"
        ),
        pytest.param(
            "[parallelism]\ndata_parallel_replicate_degree = 2",
            "training.parallelism.replicate",
            2,
            id="HSDP",
        ),
        pytest.param(
            "[parallelism]\npipeline_parallel_degree = 2", "training.parallelism.pipeline", 2, id="PP"
        ),
        pytest.param(
            "[experimental]\ncontext_parallel_degree = 2", "training.parallelism.context", 2, id="CP of old"
        ),
        pytest.param("[lora]\nrank = 8\nalpha = 16.0", "lora.rank", 8, id="rank"),
        pytest.param("[lora]\ntarget_modules = ['wo', 'gate']", "lora.targets", ["wo"], id="targets"),
        pytest.param("finetune_lora_rank = 4", "lora.rank", 4, id="rank of a flavour"),
        pytest.param(
            "[checkpoint]\ninitial_load_in_hf = true\ninitial_load_path = '/data/V3.1'",
            "model.uri",
            "models/V3.1",
            id="what it begins with",
        ),
        pytest.param(
            "[profiling]\nenable_profiling = true",
            "training.overrides",
            {"profiler.enable_profiling": True},
            id="an override",
        ),
    ],
)
def test_of_a_key(tmp_path: Path, lines: str, path: str, value: Any) -> None:
    section = lines.partition("\n")[0]
    text = LEAST
    if section in LEAST:  # TOML has a table once
        text = LEAST.replace(section, lines)
    elif not section.startswith("["):
        text = LEAST.replace("[model]", f"[model]\n{lines}")
    else:
        text = f"{LEAST}{lines}\n"
    found: Any = imported(tmp_path, text).manifest["spec"]
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    assert found == value


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("[parallelism]\nexpert_tensor_parallel_degree = 2", "expert_tensor_parallel_degree: 2 has no"),
        ("[optimizer]\nname = 'Muon'", "optimizer.name: 'Muon' has no counterpart: AdamW"),
        ("[optimizer]\nbeta2 = 0.95", "optimizer.beta2: 0.95 has no counterpart"),
        ("[validation]\nenable = true", "validation.enable: True has no counterpart: give dataset.valid"),
        ("[checkpoint]\nfolder = 'out'", "checkpoint.folder: 'out' has no counterpart"),
        ("[checkpoint]\nenable = false", "checkpoint.enable: False has no counterpart"),
        ("[fancy]\nknob = 3", "fancy.knob: 3 is not carried"),
        ("[comm]\ntrace_buf_size = 1", "change nothing that is trained: comm.trace_buf_size"),
        ("[optimizer]\nlr = 1e-3", "optimizer.weight_decay: is not in the file: 0.1, torchtitan's default"),
    ],
)
def test_what_is_said(tmp_path: Path, lines: str, says: str) -> None:
    notes = imported(tmp_path, f"{LEAST}{lines}\n").notes
    assert any(says in note for note in notes), notes
    assert all("\n" not in note for note in notes)


@pytest.mark.parametrize(
    ("text", "flavor"),
    [
        pytest.param(LEAST, "671B_lora", id="the same"),
        pytest.param(LEAST.replace("671B_lora", "16B"), "16B_lora", id="of the same size"),
        pytest.param(LEAST.replace("671B_lora", "kimi_k2"), None, id="of one's own"),
        pytest.param(LEAST.replace('flavor = "671B_lora"', ""), None, id="none"),
    ],
)
def test_the_flavour_is_a_known_one_or_the_bases(tmp_path: Path, text: str, flavor: str | None) -> None:
    job = imported(tmp_path, text)
    assert job.manifest["spec"].get("flavor") == flavor
    said = [note for note in job.notes if "the base's own config.json says its size" in note]
    assert len(said) == (flavor is None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            LEAST.replace("[model]", "[model]\nname='llama3'"), "model.name: is 'llama3'", id="name"
        ),
        pytest.param(LEAST.replace("acme/chats", "/data/chats"), "no place in the volume", id="a path"),
        pytest.param(LEAST.replace("dataset_path", "dataset"), "a dataset of your own code", id="a dataset"),
        pytest.param(
            LEAST.replace('hf_assets_path = "hf/V3"', ""), "hf_assets_path: is not in the", id="base"
        ),
        pytest.param(f"{LEAST}steps = 'ten'", "training.steps: spec.training.steps is 'ten'", id="type"),
        pytest.param(f"{LEAST}steps = 0", "training.steps: spec.training.steps is 0", id="bounds"),
        pytest.param(f"{LEAST}[lr_scheduler]\ndecay_type = 'sqrt'", "decay_type: is 'sqrt'", id="schedule"),
        pytest.param(
            f"{LEAST}[activation_checkpoint]\nmode = 'memory_budget'", "mode: is 'mem", id="recompute"
        ),
        pytest.param(f"{LEAST}[activation_checkpoint]\nmode = 3", "mode: is 3", id="no mode"),
        pytest.param(f"{LEAST}[lora]\nrank = [4, 8]", "lora.rank: differs from layer", id="ranks"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(NotImportedError) as refused:
        imported(tmp_path, text)
    assert any(says in line for line in refused.value.errors), refused.value.errors
    assert all("\n" not in line for line in refused.value.errors)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"[model\n", "is no TOML", id="TOML"),
        pytest.param(b"\xff\xfe", "no text in UTF-8", id="bytes"),
        pytest.param(b"", "holds no settings", id="empty"),
        pytest.param(
            b"[training]\nbatch_size = 1\nlocal_batch_size = 2\n",
            "training.local_batch_size and training.batch_size are the same setting and differ",
            id="two spellings",
        ),
        pytest.param(b'[model]\nflavor = "671B"\n', "error: ", id="all that is missing"),
    ],
)
def test_one_line_for_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "c.toml").write_bytes(content)
    result = CliRunner().invoke(finetune, ["import", str(tmp_path / "c.toml")])
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


def test_the_command_writes_a_manifest_that_is_valid(tmp_path: Path) -> None:
    out = tmp_path / "job.yaml"
    arguments = ["import", str(CONFIGS / "lora_671b.toml"), "--dataset", "datasets/a.jsonl", "-o", str(out)]
    result = CliRunner().invoke(finetune, arguments)
    assert result.exit_code == 0, result.output
    text = out.read_text()
    assert "# lora.rank: is not in the file" in text
    assert load_manifests([out])[0]["spec"]["lora"]["rank"] == yaml.safe_load(text)["spec"]["lora"]["rank"]
    again = CliRunner().invoke(finetune, arguments)
    assert "is there already" in str(again.exception)


def test_every_key_has_one_meaning() -> None:
    tables = [FIELDS, OVERRIDES, NO_COUNTERPART]
    assert sum(map(len, tables)) == len(set().union(*tables))
    assert not set(ALIASES) & set().union(*tables)
    assert all(tomllib.loads(f'"{beginning}" = 1') for beginning in CHANGES_NOTHING)
