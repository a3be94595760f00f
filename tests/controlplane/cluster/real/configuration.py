"""What the programs of a node are told. JSON is YAML, so that dicts will do; containerd reads TOML alone."""

from pathlib import Path
from typing import Any

from cluster.controlplane import POD_RANGE

DNS_DOMAIN = "cluster.local"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE = "localhost/pause:1"
CGROUP = "finetune-node"

_CONTAINERD = """
version = 3
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
address = "{socket}"
[plugins."io.containerd.cri.v1.images"]
# A layer is on the disk once: unpacked.
discard_unpacked_layers = true
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"
[plugins."io.containerd.cri.v1.images".registry]
config_path = "{folder}/registries"
[plugins."io.containerd.cri.v1.runtime"]
# Where root has no CAP_SYS_RESOURCE, a negative score is refused and runc dies.
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
runtime_path = "{shim}"
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{folder}/cni"
"""


def containerd(folder: Path, shim: Path) -> str:
    return _CONTAINERD.format(folder=folder, shim=shim, socket=CONTAINERD_SOCKET, pause=PAUSE)


def registry(address: str, certificate: Path | None = None) -> str:
    """A hosts.toml, by which containerd pulls from there: without TLS, or trusting this certificate."""
    if certificate is None:
        return f'server = "http://{address}"\n'
    return f'server = "https://{address}"\nca = "{certificate}"\n'


def network() -> dict[str, Any]:
    """Pods on a bridge of the node."""
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni",
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "hairpinMode": True, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def kubelet(folder: Path, address: str) -> dict[str, Any]:
    """For a machine with cgroup v1, without CAP_SYS_RESOURCE, whose disk others fill."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "clusterDNS": [address],
        "clusterDomain": DNS_DOMAIN,
        "resolvConf": str(folder / "resolv.conf"),
        "volumePluginDir": str(folder / "volume-plugins"),
    }


def kube_proxy(kubeconfig: Path, name: str) -> dict[str, Any]:
    """Limits of connections are the machine's, and not this network's to set."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": name,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def corefile(kubeconfig: Path, address: str) -> str:
    return f"""
{DNS_DOMAIN} in-addr.arpa {{
  bind {address}
  errors
  kubernetes {DNS_DOMAIN} in-addr.arpa {{
    kubeconfig {kubeconfig}
  }}
}}
"""
