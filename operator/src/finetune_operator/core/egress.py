"""The way out of the cluster, for every pod alike: proxies, a mirror of the hub, and whom to trust."""

from dataclasses import dataclass

from finetune_operator.core.objects import Manifest

_CA_FOLDER = "/etc/finetune-ca"
# Of OpenSSL (Python's ssl, httpx), requests, curl, and the AWS SDKs.
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
# What no proxy of the way out reaches: the pod itself, and the cluster's Services.
_INSIDE = ("localhost", "127.0.0.1", "::1", ".svc", ".cluster.local")


@dataclass(frozen=True, kw_only=True)
class Egress:
    """What pods are told of the way out; empty where there is nothing to tell."""

    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    """Hosts, domains and networks that are reached without a proxy, beside the cluster's own."""
    hub_endpoint: str = ""
    """Of a mirror of the Hugging Face hub."""
    ca_config_map: str = ""
    """A ConfigMap in the namespace of each object, with all the authorities to trust, in PEM."""
    ca_key: str = "ca.crt"

    @property
    def variables(self) -> dict[str, str]:
        """The variables of each container. Proxies stand there twice: programs differ in what they read."""
        proxies = {"HTTP_PROXY": self.http_proxy, "HTTPS_PROXY": self.https_proxy}
        if any(proxies.values()):
            proxies["NO_PROXY"] = ",".join((*_INSIDE, *filter(None, [self.no_proxy])))
        trusted = dict.fromkeys(_CA_VARIABLES, f"{_CA_FOLDER}/{self.ca_key}" if self.ca_config_map else "")
        both = {**proxies, **{name.lower(): value for name, value in proxies.items()}}
        variables = {**both, "HF_ENDPOINT": self.hub_endpoint, **trusted}
        return {name: value for name, value in variables.items() if value}

    @property
    def volumes(self) -> tuple[Manifest, ...]:
        """The volume of each pod with whom to trust, if any."""
        if not self.ca_config_map:
            return ()
        return ({"name": "ca", "configMap": {"name": self.ca_config_map}},)

    @property
    def mounts(self) -> tuple[Manifest, ...]:
        """Where containers have it."""
        return tuple(
            {"name": volume["name"], "mountPath": _CA_FOLDER, "readOnly": True} for volume in self.volumes
        )
