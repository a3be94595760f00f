"""Replicas of the operator that elect a leader among them: processes, each with ports and an identity."""

import itertools
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import yaml
from cluster.controlplane import free_ports
from cluster.operator_pod import OperatorPod
from cluster.process import answers
from forked_operator import ForkedOperators
from kubernetes import client
from waiting import until

# A takeover after seconds instead of a quarter of a minute; on a busy machine a leader may lose its Lease.
_TIMES = {"leaseDurationSeconds": 3, "renewDeadlineSeconds": 2, "retryPeriodSeconds": 1}
_STARTS = itertools.count()


@dataclass(kw_only=True)
class Replica:
    """One of them; each time it is started it is another pod."""

    forked: ForkedOperators
    health_port: int
    metrics_port: int
    _pod_uid: str = field(default="", init=False)

    @property
    def identity(self) -> str:
        """What the Lease calls it."""
        return f"{socket.gethostname()}_{self._pod_uid}"

    def kill(self) -> None:
        self.forked.kill()

    def end(self) -> None:
        """As the kubelet ends a pod."""
        self.forked.send(signal.SIGTERM)

    def freeze(self) -> None:
        """As a machine that stands still; `start_again` lets it go on first."""
        self.forked.send(signal.SIGSTOP)

    def start_again(self) -> None:
        """Start the next one, once the one before it has ended."""
        if self.forked.runs:
            self.forked.send(signal.SIGCONT)
            until(f"the end of {self.identity}", lambda: not self.forked.runs)
        self.start()

    def start(self) -> None:
        self._pod_uid = f"pod-{next(_STARTS)}"
        self.forked.start(self._pod_uid)

    def until_ready(self) -> None:
        """Wait until it leads or can take over; start one that has ended by itself, as the kubelet does."""

        def is_ready() -> bool:
            if not self.forked.runs:
                self.start()
            return answers(f"http://127.0.0.1:{self.health_port}/readyz")

        until(f"{self.identity} is ready", is_ready)


@contextmanager
def replicas_of(
    operator: OperatorPod, number: int, times: Mapping[str, int] = _TIMES
) -> Iterator[list[Replica]]:
    """Start so many replicas of an operator, with these times of the election; they end with the block."""
    with ExitStack() as stack:
        replicas = []
        for index in range(number):
            health, metrics = free_ports(2)
            config = yaml.safe_load((operator.folder / "operator.yaml").read_text())
            config |= {
                "ports": {"health": health, "metrics": metrics},
                "leaderElection": config["leaderElection"] | dict(times),
            }
            file = operator.folder / f"replica-{index}.yaml"
            file.write_text(yaml.safe_dump(config))
            forked = ForkedOperators(
                config=file,
                kubeconfig=operator.credentials.kubeconfig("operator"),
                log=operator.folder / f"replica-{index}.log",
            )
            replica = Replica(forked=stack.enter_context(forked), health_port=health, metrics_port=metrics)
            replica.start()
            replicas.append(replica)
        yield replicas


def holder(api: client.ApiClient) -> str:
    """Who holds the Lease; empty when nobody does."""
    coordination = client.CoordinationV1Api(api)
    lease = coordination.read_namespaced_lease("finetune-operator", "finetune-system")
    return lease.spec.holder_identity or ""


def leader_of(api: client.ApiClient, replicas: Sequence[Replica]) -> Replica | None:
    """Which of them leads."""
    name = holder(api)
    return next((replica for replica in replicas if replica.identity == name), None)
