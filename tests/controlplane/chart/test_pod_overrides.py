"""What the chart's admission policy lets users set on pods, as the API server says."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster.commands import Run
from rendered import CHART, NAMESPACE, RELEASE
from waiting import until

TEAM = "team-overrides"
HERE = ("--namespace", TEAM)
# May make both kinds, and neither pods nor Secrets; the other one may make pods and read Secrets too.
NEWCOMER, EDITOR = "newcomer", "editor"

Apply = Callable[[str, dict[str, Any]], str]


def install(helm: Run, *settings: str) -> None:
    sets = [word for setting in settings for word in ("--set", setting)]
    helm("upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, *sets)


def job(template: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    whole = {
        "model": {"uri": "models/b"},
        "flavor": "tiny_lora",
        "dataset": {"uri": "datasets/d.jsonl"},
        "training": {"steps": 10},
        "workers": {"device": "cpu", "podOverrides": template or {}},
        "storage": {"claimName": "models"},
    }
    return _object("FineTuneJob", {**whole, **spec})


def deployment(template: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    whole = {"model": {"fineTuneJobRef": {"name": "x"}}, "podOverrides": template or {}}
    return _object("ModelDeployment", {**whole, **spec})


def _object(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "x", "namespace": TEAM}
    return {"apiVersion": "finetune.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def secret_env(name: str) -> dict[str, Any]:
    return {"env": [{"name": "STOLEN", "valueFrom": {"secretKeyRef": {"name": name, "key": "password"}}}]}


def volume(source: str, **fields: Any) -> dict[str, Any]:
    return {"name": "box", source: fields}


def mount(path: str) -> dict[str, Any]:
    return {"volumes": [volume("emptyDir")], "volumeMounts": [{"name": "box", "mountPath": path}]}


CODE = (
    *("PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONBREAKPOINT", "PYTHONWARNINGS"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "GCONV_PATH", "HOME", "BASH_ENV", "OPENSSL_CONF"),
    *(
        "VLLM_PLUGINS",
        "VLLM_SERVER_DEV_MODE",
        "NCCL_NET_PLUGIN",
        "NCCL_TUNER_PLUGIN",
        "CUDA_INJECTION64_PATH",
    ),
    *("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "FI_PROVIDER_PATH", "CC"),
)
NOBODYS = ("PATH", "PYTHONHOME", "PET_RDZV_BACKEND")


@pytest.fixture(scope="module")
def apply(helm: Run, kubectl: Run) -> Iterator[Apply]:
    """Return what says why a user may not apply an object; nothing when they may."""
    install(helm)
    kubectl("create", "namespace", TEAM)
    verbs = ("--verb=create,get,patch,update", "--resource=finetunejobs,modeldeployments")
    kubectl("create", "clusterrole", "tuner", *verbs)
    kubectl("create", "rolebinding", "newcomer", "--clusterrole=tuner", f"--user={NEWCOMER}", *HERE)
    kubectl("create", "rolebinding", "editor", "--clusterrole=edit", f"--user={EDITOR}", *HERE)

    def apply(user: str, manifest: dict[str, Any]) -> str:
        words = ("apply", "--dry-run=server", "--server-side", f"--as={user}", "--filename=-")
        return kubectl(*words, stdin=json.dumps(manifest), check=False).stderr

    # The API server and the controller that aggregates roles need a moment.
    until("the policy", lambda: "hostNetwork" in apply(NEWCOMER, job({"hostNetwork": True})))
    until("the editor's rights", lambda: not apply(EDITOR, job()))
    yield apply
    helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")


PRIVILEGES = {
    "root": {"securityContext": {"runAsUser": 0, "runAsNonRoot": False}},
    "root container": {"containerSecurityContext": {"runAsUser": 0}},
    "privileged": {"containerSecurityContext": {"privileged": True, "allowPrivilegeEscalation": True}},
    "escalation": {"containerSecurityContext": {"allowPrivilegeEscalation": True}},
    "capability": {"containerSecurityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}},
    "unconfined": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
    "sysctls": {"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "0"}]}},
    "host process": {"securityContext": {"windowsOptions": {"hostProcess": True}}},
}


@pytest.mark.parametrize("user", [NEWCOMER, EDITOR])
@pytest.mark.parametrize("template", [pytest.param(t, id=name) for name, t in PRIVILEGES.items()])
def test_nobody_gets_privileges(apply: Apply, user: str, template: dict[str, Any]) -> None:
    added = {"name": "mine", "image": "acme/mine:1", "securityContext": next(iter(template.values()))}
    for manifest in (
        job(template),
        deployment(template),
        job(deployment={"podOverrides": template}),
        job(stageOverrides={"train": template}),
        *((job({"initContainers": [added]}),) if user == EDITOR else ()),
    ):
        assert "podOverridesPolicy.privileges" in apply(user, manifest)


@pytest.mark.parametrize(
    ("manifest", "value"),
    [
        pytest.param(job(workers={"ipcLock": True}), "privileges", id="IPC_LOCK"),
        pytest.param(job({"hostNetwork": True}), "hostNetwork", id="the node's network"),
        pytest.param(deployment({"hostNetwork": True}), "hostNetwork", id="of a server"),
        pytest.param(job({"hostNetwork": True}, stageOverrides={}), "hostNetwork", id="an empty map"),
        pytest.param(
            job(stageOverrides={"push": {"hostNetwork": True}}), "hostNetwork", id="of a stage of its own"
        ),
        pytest.param(job({"volumes": [volume("hostPath", path="/")]}), "volumes", id="the node's files"),
        pytest.param(
            deployment({"volumes": [volume("nfs", server="a", path="/")]}),
            "volumes",
            id="an NFS server's files",
        ),
        pytest.param(
            job({"volumes": [volume("secret", secretName="prod-db")]}), "secrets", id="Secret as a volume"
        ),
        pytest.param(
            job({"volumes": [volume("projected", sources=[{"secret": {"name": "prod-db"}}])]}),
            "secrets",
            id="Secret as one of several sources",
        ),
        pytest.param(
            job({"volumes": [volume("projected", sources=[{"serviceAccountToken": {"path": "t"}}])]}),
            "serviceAccounts",
            id="a token of the API",
        ),
        pytest.param(
            job({"initContainers": [{"name": "mine", "image": "acme/mine:1"}]}),
            "containers",
            id="a container",
        ),
        pytest.param(
            job(mount("/usr/lib/python3")),
            "code",
            id="mounted code",
        ),
        pytest.param(job(mount("/mnt/../usr")), "code", id="by another way"),
        pytest.param(deployment(trustRemoteCode=True), "code", id="the model's code"),
        pytest.param(job(deployment={"trustRemoteCode": True}), "code", id="the model's code, of a job"),
        *(
            pytest.param(job({"env": [{"name": name, "value": "/volume/mine"}]}), "code", id=name)
            for name in CODE
        ),
        pytest.param(job({"serviceAccountName": "cluster-backup"}), "serviceAccounts", id="account"),
        pytest.param(job(secret_env("prod-db")), "secrets", id="Secret"),
        pytest.param(deployment(secret_env("prod-db")), "secrets", id="Secret of a server"),
        pytest.param(
            job(model={"uri": "hf://a/b", "tokenSecretRef": {"name": "prod-db", "key": "password"}}),
            "secrets",
            id="Secret as a token",
        ),
        pytest.param(
            job(export={"push": {"uri": "hf://a/b", "credentialsSecretRef": {"name": "prod-db"}}}),
            "secrets",
            id="Secret as credentials",
        ),
        pytest.param(
            job(deployment={"apiKeySecretRef": {"name": "prod-db", "key": "password"}}),
            "secrets",
            id="Secret as a key",
        ),
    ],
)
def test_who_may_only_make_jobs_gets_nothing_else_by_them(
    apply: Apply, manifest: dict[str, Any], value: str
) -> None:
    assert f"podOverridesPolicy.{value}" in apply(NEWCOMER, manifest)


@pytest.mark.parametrize("user", [NEWCOMER, EDITOR])
@pytest.mark.parametrize("name", NOBODYS)
def test_what_pods_need_is_set_by_nobody(apply: Apply, user: str, name: str) -> None:
    assert "podOverrides.env" in apply(user, job({"env": [{"name": name, "value": "/volume/mine"}]}))


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(job(), id="plain job"),
        pytest.param(deployment(), id="plain deployment"),
        pytest.param(
            job(
                {
                    "securityContext": {"runAsUser": 1000, "fsGroup": 1000, "runAsNonRoot": True},
                    "nodeSelector": {"zone": "a"},
                    "env": [
                        {"name": "NCCL_DEBUG", "value": "INFO"},
                        {"name": "NCCL_NET_PLUGIN", "value": "none"},
                        {"name": "PYTHONUNBUFFERED", "value": "1"},
                        {"name": "HF_HUB_DOWNLOAD_TIMEOUT", "value": "60"},
                    ],
                    "volumes": [volume("configMap", name="corp")],
                    "volumeMounts": [{"name": "box", "mountPath": "/mnt/corp"}],
                }
            ),
            id="harmless overrides",
        ),
    ],
)
@pytest.mark.parametrize("user", [NEWCOMER, EDITOR])
def test_what_is_harmless_is_taken(apply: Apply, user: str, manifest: dict[str, Any]) -> None:
    assert apply(user, manifest) == ""


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(job({"serviceAccountName": "cluster-backup"}), id="account"),
        pytest.param(job(secret_env("prod-db")), id="Secret"),
        pytest.param(job({"volumes": [volume("secret", secretName="prod-db")]}), id="Secret as a volume"),
        pytest.param(
            job({"initContainers": [{"name": "mine", "image": "acme/mine:1", **secret_env("hub")}]}),
            id="a container with a Secret",
        ),
        pytest.param(
            job(model={"uri": "hf://a/b", "tokenSecretRef": {"name": "hub", "key": "token"}}), id="token"
        ),
    ],
)
def test_who_may_have_it_anyway_may_name_it(apply: Apply, manifest: dict[str, Any]) -> None:
    assert apply(EDITOR, manifest) == ""


def test_an_administrator_allows_each_by_name(apply: Apply, helm: Run) -> None:
    allowed = (
        "hostNetwork=true",
        "privileges=true",
        "code=true",
        "containers=true",
        "volumes={hostPath}",
        "serviceAccounts={backup}",
        "secrets={hub}",
    )
    install(helm, *(f"podOverridesPolicy.{each}" for each in allowed))
    everything = {
        "hostNetwork": True,
        "serviceAccountName": "backup",
        "containerSecurityContext": {"privileged": True},
        "env": [{"name": "PYTHONPATH", "value": "/x"}, *secret_env("hub")["env"]],
        "volumes": [volume("hostPath", path="/opt/nccl")],
        "volumeMounts": [{"name": "box", "mountPath": "/usr/local/nccl"}],
        "initContainers": [{"name": "mine", "image": "acme/mine:1"}],
    }
    until("another policy", lambda: apply(NEWCOMER, job(everything)) == "")
    assert "podOverridesPolicy.secrets" in apply(NEWCOMER, job(secret_env("prod-db")))
    assert "podOverridesPolicy.serviceAccounts" in apply(NEWCOMER, job({"serviceAccountName": "other"}))
