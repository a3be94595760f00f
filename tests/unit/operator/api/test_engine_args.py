"""vLLM's arguments: what a server may be given, and what is refused in every spelling that vLLM reads."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.field_errors import field_errors

Build = Callable[..., dict[str, Any]]

REFUSED = {
    "config": ["--config", "c.yaml"],
    "no argument": ["--enforce-eager", "--", "x"],
    "a value first": ["c=models/adapter"],
    "a variable": ["--chat-template=$(X)"],
    "a variable as a name": ["--enforce-eager", "$(X)"],
    "port": ["--port", "8080"],
    "port and value": ["--port=8080"],
    "port, a beginning": ["--por=8080"],
    "port, nested": ["--port.x", "1"],
    "host": ["--host", "127.0.0.1"],
    "socket": ["--uds=/tmp/s"],
    "another protocol": ["--grpc"],
    "no server": ["--headless"],
    "TLS": ["--ssl-keyfile", "/volume/k.pem", "--ssl-certfile", "/volume/c.pem"],
    "TLS with underscores": ["--ssl_keyfile=/volume/k.pem"],
    "another task": ["--runner", "pooling"],
    "no text": ["--skip-tokenizer-init"],
    "help": ["-h"],
    "model": ["--model=models/other"],
    "names": ["--served-model-name", "gpt-4o", "chat"],
    "names, a beginning": ["--serv", "gpt-4o"],
    "names with underscores": ["--served_model_name=gpt-4o"],
    "adapters": ["--lora-modules", "a=b"],
    "key": ["--api-key", "sk-secret"],
    "key and value": ["--api_key=sk-secret"],
    "key, a beginning": ["--api-k=sk-secret"],
    "grace": ["--shutdown-timeout", "30"],
    "hub's token": ["--hf-token=hf_x"],
    "tensor": ["--tensor-parallel-size", "1"],
    "tensor, short": ["-tp", "8"],
    "tensor, short and value": ["-tp=8"],
    "tensor, a beginning of short": ["-t", "8"],
    "pipeline": ["-pp=2"],
    "data": ["--data-parallel-size", "8"],
    "data, a beginning": ["--data-parallel-si=8"],
    "data, short": ["-dp", "8"],
    "data, local": ["-dpl=8"],
    "nodes": ["--nnodes", "2", "--node-rank", "0"],
    "nodes, short": ["-n2"],
    "rank, short": ["-r0"],
    "context": ["-pcp", "2"],
    "trust": ["--trust"],
    "trust with underscores": ["-O3", "--trust_remote_code=true"],
    "tool plugin": ["--tool-parser-plugin", "/volume/models/x/evil.py"],
    "reasoning plugin": ["--reasoning_parser_plugin=/volume/evil.py"],
    "reasoning plugin, a beginning": ["--reasoning-parser-p=/volume/evil.py"],
    "middleware": ["--middleware", "evil.M"],
    "worker": ["--worker-extension-cls=evil.M"],
    "logging": ["--logging-config", "/volume/l.json"],
    "log file": ["--log-config-file=/volume/l.json"],
    "executor": ["--distributed-executor-backend=evil.M"],
    "connector": ["--kv-transfer-config", '{"kv_connector": "M", "kv_connector_module_path": "evil"}'],
    "connector, nested": ["--kv-transfer-config.kv_connector_module_path=evil"],
    "connector, nested twice": ["--kv-transfer-config.kv_connector_extra_config.spec_module_path", "evil"],
    "plugin in JSON": ["--structured-outputs-config", '{"reasoning_parser_plugin": "/volume/evil.py"}'],
    "plugin, nested": ["--structured-outputs-config.reasoning_parser_plugin=/volume/evil.py"],
    "compiler": ["--compilation-config", '{"backend": "evil.compile"}'],
    "compiler, short": ["-cc.backend=evil.compile"],
    "compiler, short and apart": ["-cc.backend", "evil.compile"],
    "passes": ["-cc", '{"inductor_passes": {"post_grad_custom_post_pass": "evil.f"}}'],
    "draft": ["--speculative-config", '{"method": "custom_class", "model": "evil.M"}'],
    "hidden in JSON": ["--compilation-config", '{"b\\u0061ckend": "evil.compile"}'],
}

TAKEN = {
    "none": [],
    "expert parallelism": ["--enable-expert-parallel"],
    "short": ["-ep", "-O3", "-q", "fp8", "-asc", "2"],
    "with values": ["--gpu-memory-utilization", "0.7", "--max-model-len=4096", "--kv-cache-dtype", "fp8"],
    "tools": [
        "--enable-auto-tool-choice",
        "--tool-call-parser=deepseek_v3",
        "--reasoning-parser",
        "deepseek_r1",
    ],
    "a request's template": ["--trust-request-chat-template"],
    "names beside those refused": ["--model-impl=vllm", "--config-format", "hf", "--log-level=info"],
    "compilation": ["-cc.cudagraph_mode=PIECEWISE", "-cc", '{"mode": 3}', "-O.level=3"],
    "a backend of its own": ["--structured-outputs-config", '{"backend": "xgrammar"}'],
    "drafts": ["--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}'],
    "offloading": ["--kv-transfer-config", '{"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}'],
    "less than nothing": ["--seed", "-1"],
    "a load format, where loadFormat says nothing": ["--load-format", "sharded_state"],
}


@pytest.mark.parametrize("arguments", [pytest.param(a, id=name) for name, a in REFUSED.items()])
def test_is_refused(deployment: Build, arguments: list[str]) -> None:
    errors = [str(error) for error in field_errors(ModelDeployment, deployment(engineArgs=arguments))]
    assert errors
    assert all(error.startswith("spec.engineArgs: ") and "; " in error for error in errors)


@pytest.mark.parametrize("arguments", [pytest.param(a, id=name) for name, a in TAKEN.items()])
def test_is_taken(deployment: Build, arguments: list[str]) -> None:
    assert list(field_errors(ModelDeployment, deployment(engineArgs=arguments))) == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--served-model-name", "x"], "servedModelName"),
        (["--model", "x"], "model"),
        (["--lora-modules", "x=y"], "adapters"),
        (["--api-key", "x"], "apiKeySecretRef"),
        (["-tp", "8"], "tensorParallelSize"),
        (["-pp", "8"], "pipelineParallelSize"),
        (["-dp", "8"], "dataParallelSize"),
        (["--trust"], "trustRemoteCode"),
        (["--shutdown-timeout=9"], "terminationGracePeriodSeconds"),
    ],
)
def test_the_field_is_named_that_takes_its_place(deployment: Build, arguments: list[str], field: str) -> None:
    (error,) = field_errors(ModelDeployment, deployment(engineArgs=arguments))
    assert f"set {field}" in str(error)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--load-format", "instanttensor"], id="the same"),
        pytest.param(["--load-format=dummy"], id="and value"),
        pytest.param(["-O3", "--load_format", "dummy"], id="underscores"),
        pytest.param(["--load-f=dummy"], id="a beginning"),
    ],
)
def test_a_load_format_is_given_once(deployment: Build, arguments: list[str]) -> None:
    given = deployment(engineArgs=arguments, loadFormat="instanttensor")
    (error,) = field_errors(ModelDeployment, given)
    assert str(error).startswith("spec.engineArgs: engineArgs names a load format, and so does loadFormat")


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        pytest.param({}, False, id="several"),
        pytest.param({"adapters": [{"name": "a", "uri": "b"}]}, True, id="with adapters"),
        pytest.param({"nodes": 2, "tensorParallelSize": 2}, True, id="on several nodes"),
    ],
)
@pytest.mark.parametrize("arguments", [["--api-server-count", "4"], ["--api_server_c=4"]])
def test_processes_of_the_api(
    deployment: Build, spec: dict[str, object], arguments: list[str], refused: bool
) -> None:
    errors = [str(e) for e in field_errors(ModelDeployment, deployment(engineArgs=arguments, **spec))]
    assert len(errors) == refused
    assert all("remove --api-server-count" in error for error in errors)


@pytest.mark.parametrize("name", ["SERVING_PORT", "FINETUNE_PROBE", "SERVED_MODEL_NAME", "VLLM_API_KEY"])
def test_variables_that_the_probes_read_are_not_the_users(deployment: Build, name: str) -> None:
    template = {"env": [{"name": name, "value": "x"}]}
    (error,) = field_errors(ModelDeployment, deployment(podOverrides=template))
    assert str(error).startswith("spec.podOverrides.env: ")
