"""A repository's name without hf:// is a valid path, and rarely meant as one."""

import pytest

from finetune_operator.api.suggestions import suggestions


@pytest.mark.parametrize(
    ("uri", "suggested"),
    [
        pytest.param("deepseek-ai/DeepSeek-V3", True, id="repository"),
        pytest.param("unsloth/DeepSeek-V3-bf16", True, id="another's"),
        pytest.param("hf://deepseek-ai/DeepSeek-V3", False, id="scheme"),
        pytest.param("models/tiny-base", False, id="folder of models"),
        pytest.param("bases/a", False, id="folder of bases"),
        pytest.param("tiny-base", False, id="one segment"),
        pytest.param("team/models/tiny", False, id="three segments"),
        pytest.param("s3://bucket/prefix", False, id="bucket"),
        pytest.param("acme/chats.jsonl", False, id="file"),
    ],
)
def test_hf_is_suggested(uri: str, suggested: bool) -> None:
    manifest = {
        "kind": "FineTuneJob",
        "spec": {"model": {"uri": uri}, "dataset": {"uri": "datasets/faq.jsonl"}},
    }
    line = f"spec.model.uri: {uri} is a folder in the volume; for the hub's write hf://{uri}"
    assert list(suggestions(manifest)) == ([line] if suggested else [])


def test_hf_is_suggested_for_each_source() -> None:
    sources = [{"uri": "datasets/faq.jsonl"}, {"uri": "acme/chats"}]
    spec = {"model": {"uri": "tiny-base"}, "dataset": {"sources": sources}}
    line = "spec.dataset.sources[1].uri: acme/chats is a folder in the volume; for the hub's write hf://acme/chats"
    assert list(suggestions({"kind": "FineTuneJob", "spec": spec})) == [line]


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        pytest.param({}, True, id="the default targets"),
        pytest.param({"targets": ["kv_b_proj", "o_proj"]}, True, id="by name"),
        pytest.param({"targets": ["wkv_b"]}, True, id="by torchtitan's name"),
        pytest.param({"targets": ["served_attention", "mlp", "experts"]}, False, id="what vLLM serves whole"),
    ],
)
def test_an_adapter_that_vllm_does_not_serve_whole_is_said_before_training(
    lora: dict[str, object], said: bool
) -> None:
    spec = {
        "model": {"uri": "tiny-base"},
        "dataset": {"uri": "faq.jsonl"},
        "lora": lora,
        "export": {"adapterOnly": True},
    }
    lines = list(suggestions({"kind": "FineTuneJob", "spec": spec}))
    assert [line.split(":")[0] for line in lines] == (["spec.lora.targets"] if said else [])
    merged = {**spec, "export": {"adapterOnly": False}}
    assert not list(suggestions({"kind": "FineTuneJob", "spec": merged}))


def test_only_jobs_fetch() -> None:
    assert not list(suggestions({"kind": "ModelDeployment", "spec": {}}))


IMAGE = {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "image": {"reference": "b:1"}}]}
STRICT = {"securityContext": {"supplementalGroupsPolicy": "Strict"}}


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        pytest.param(
            "FineTuneJob",
            {"workers": {"podOverrides": IMAGE}},
            "spec.workers.podOverrides.volumes[1].image: is for Kubernetes 1.36 or newer",
            id="image volume",
        ),
        pytest.param(
            "FineTuneJob",
            {"stageOverrides": {"train": IMAGE}},
            "spec.stageOverrides.train.volumes[1].image: is for Kubernetes 1.36 or newer",
            id="a stage's",
        ),
        pytest.param(
            "ModelDeployment",
            {"podOverrides": STRICT},
            "spec.podOverrides.securityContext.supplementalGroupsPolicy: is for Kubernetes 1.33 or newer",
            id="groups",
        ),
    ],
)
def test_what_an_older_kubernetes_leaves_out_is_said(kind: str, spec: dict[str, object], said: str) -> None:
    base = {"model": {"uri": "tiny-base"}, "dataset": {"uri": "faq.jsonl"}} if kind == "FineTuneJob" else {}
    (line,) = suggestions({"kind": kind, "spec": {**base, **spec}})
    assert line.startswith(said)


def test_a_model_that_is_an_image_is_not_for_every_kubernetes() -> None:
    deployment = {"kind": "ModelDeployment", "spec": {"model": {"uri": "oci://registry.example/faq:v1"}}}
    (line,) = suggestions(deployment)
    assert line.startswith("spec.model.uri: an image in a volume's place is for Kubernetes 1.36")
