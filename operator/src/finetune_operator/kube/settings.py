"""The operator's configuration file, which the chart writes from its values."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.formats import FreeObject, Quantity
from finetune_operator.api.rules import Rule
from finetune_operator.core.config import Config, Images
from finetune_operator.core.egress import Egress

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[int, Field(ge=1, le=3600)]
_DEFAULTS = Config()


class ImagesSettings(ApiModel):
    """Container images, one a role."""

    trainer: str = _DEFAULTS.images.trainer
    """Prepares and trains."""

    converter: str = _DEFAULTS.images.converter
    """Merges and verifies."""

    server: str = _DEFAULTS.images.server
    """vLLM."""


class CaBundleSettings(ApiModel):
    """Whom pods trust, beside or instead of what their images trust."""

    config_map: str = ""
    """A ConfigMap that is in every namespace with jobs; none when empty."""

    key: str = _DEFAULTS.egress.ca_key
    """Its key with the certificates, in PEM: all that are to be trusted."""


class EgressSettings(ApiModel):
    """The way out of the cluster, for every pod of every stage and server."""

    http_proxy: str = ""
    """HTTP_PROXY."""

    https_proxy: str = ""
    """HTTPS_PROXY."""

    no_proxy: str = ""
    """NO_PROXY, beside the pod itself and the cluster's Services."""

    hub_endpoint: str = ""
    """HF_ENDPOINT: a mirror of the Hugging Face hub."""

    ca_bundle: CaBundleSettings = Field(default_factory=CaBundleSettings)
    """Whom to trust."""

    @property
    def egress(self) -> Egress:
        """What the builders need of it."""
        return Egress(
            http_proxy=self.http_proxy,
            https_proxy=self.https_proxy,
            no_proxy=self.no_proxy,
            hub_endpoint=self.hub_endpoint,
            ca_config_map=self.ca_bundle.config_map,
            ca_key=self.ca_bundle.key,
        )


class CacheSettings(ApiModel):
    """A volume for what pods compile, which outlives them."""

    claim_name: str = ""
    """A claim that is in every namespace with jobs or deployments; none when empty."""


class PortsSettings(ApiModel):
    """Where the operator listens."""

    health: Port = 8081
    """/healthz."""

    metrics: Port = 8080
    """/metrics."""


class LogSettings(ApiModel):
    """The operator's log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """What is written at least."""

    format: Literal["plain", "json"] = "plain"
    """For people, or for a log store."""


class LeaderElectionSettings(ApiModel):
    """Which of several replicas acts, by a Lease; in the words of Kubernetes' LeaderElectionConfiguration."""

    rules = (
        Rule(
            rule="self.leaseDurationSeconds > self.renewDeadlineSeconds",
            problem="is not more than renewDeadlineSeconds",
            remedy="give a leader that cannot renew the time to end before another begins",
            field="leaseDurationSeconds",
        ),
        Rule(
            rule="double(self.renewDeadlineSeconds) > 1.2 * double(self.retryPeriodSeconds)",
            problem="is not more than 1.2 times retryPeriodSeconds",
            remedy="give a leader the time to try again",
            field="renewDeadlineSeconds",
        ),
    )

    resource_namespace: str
    """Where the Lease is."""

    resource_name: str
    """What the Lease is called."""

    lease_duration_seconds: Seconds = 15
    """Nobody takes a Lease that was renewed less than this ago."""

    renew_deadline_seconds: Seconds = 10
    """A leader that could not renew for this long ends."""

    retry_period_seconds: Seconds = 2
    """Between two tries, to take or to renew."""


class Settings(ApiModel):
    """Everything in the file; what is left out has its default."""

    images: ImagesSettings = Field(default_factory=ImagesSettings)
    """The images of every pod."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Of every pod."""

    gpu_memory: Quantity = _DEFAULTS.gpu_memory
    """Of a GPU whose spec does not say."""

    gpus_per_node: Annotated[int, Field(ge=1, le=1024)] = _DEFAULTS.gpus_per_node
    """Of the largest node."""

    egress: EgressSettings = Field(default_factory=EgressSettings)
    """Proxies, a mirror of the hub, certificate authorities."""

    cache: CacheSettings = Field(default_factory=CacheSettings)
    """Of objects that name no cache."""

    progress_from: list[FreeObject] = Field(default_factory=list)
    """Who may ask the pods for their progress, as peers of a NetworkPolicy; everybody when empty."""

    namespaces: list[str] = Field(default_factory=list)
    """Where to work; everywhere when empty."""

    ports: PortsSettings = Field(default_factory=PortsSettings)
    """Where to listen."""

    log: LogSettings = Field(default_factory=LogSettings)
    """The log."""

    leader_election: LeaderElectionSettings | None = None
    """Among several replicas; without it this one acts alone."""

    @property
    def config(self) -> Config:
        """What the builders need of it."""
        images = Images(
            trainer=self.images.trainer, converter=self.images.converter, server=self.images.server
        )
        return Config(
            images=images,
            image_pull_policy=self.image_pull_policy,
            gpu_memory=self.gpu_memory,
            gpus_per_node=self.gpus_per_node,
            cache_claim=self.cache.claim_name,
            egress=self.egress.egress,
            progress_from=tuple(self.progress_from),
        )


class InvalidSettingsError(Exception):
    """What is wrong with the configuration file, a line each."""


def load_settings(file: Path | None) -> Settings:
    """Return the settings in a file, or the defaults; raises InvalidSettingsError with every wrong field."""
    if file is None:
        return Settings()
    try:
        document: Any = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSettingsError(f"{file}: cannot be read ({error}); check --config") from None
    if not isinstance(document, dict):
        raise InvalidSettingsError(
            f"{file}: is no mapping; write images, namespaces, ports, log and leaderElection"
        )
    if problems := field_errors(Settings, document):
        raise InvalidSettingsError("\n".join(f"{file}: {problem}" for problem in problems))
    return Settings.model_validate(document)
