"""The probes of a container, run as the pod spec has them: exec and httpGet, periods and thresholds.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from collections.abc import Callable
from datetime import datetime

import httpx

from finetune_operator.core.objects import Manifest
from finetune_operator.local.container import LocalContainer
from finetune_operator.local.process import Process

# Never through a proxy, and made once: a client loads certificates when it is made.
_CLIENT = httpx.Client(trust_env=False)


class Probe:
    """One probe: runs when its period is over, and counts successes and failures in a row."""

    def __init__(self, spec: Manifest, container: LocalContainer, started: datetime) -> None:
        self._spec = spec
        self._container = container
        self._next_at = started.timestamp() + spec.get("initialDelaySeconds", 0)
        self._process: Process | None = None
        self._deadline = 0.0
        self.failures = 0
        self.succeeded = False

    @property
    def exhausted(self) -> bool:
        """True when it failed as often in a row as failureThreshold allows."""
        return bool(self.failures >= self._spec.get("failureThreshold", 3))

    def poll(self, now: datetime) -> None:
        """Start the probe when it is due, and take its answer when it is there."""
        if self._process is not None:
            self._take_exec_answer(now.timestamp())
        elif now.timestamp() >= self._next_at:
            self._next_at = now.timestamp() + self._spec.get("periodSeconds", 10)
            self._start(now.timestamp())

    def stop(self) -> None:
        """End a probe's command that still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self, now: float) -> None:
        if "exec" in self._spec:
            log = self._container.log.with_suffix(".probe.log")
            self._process = Process(self._container.exec_command(self._spec["exec"]["command"], log))
            self._deadline = now + self._timeout
        else:
            self._record(self._get())

    @property
    def _timeout(self) -> float:
        return float(self._spec.get("timeoutSeconds", 1))

    def _get(self) -> bool:
        target = self._spec["httpGet"]
        port = self._container.ports.of(target["port"])
        try:
            answer = _CLIENT.get(f"http://127.0.0.1:{port}{target.get('path', '/')}", timeout=self._timeout)
        except httpx.HTTPError:
            return False
        return answer.status_code < 400

    def _take_exec_answer(self, now: float) -> None:
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            self._process = None
            self._record(code == 0)
        elif now >= self._deadline:
            self.stop()
            self._record(False)

    def _record(self, success: bool) -> None:
        self.succeeded = success
        self.failures = 0 if success else self.failures + 1


class ContainerProbes:
    """Startup, then readiness and liveness."""

    def __init__(self, container: LocalContainer, started: datetime) -> None:
        def probe(name: str) -> Probe | None:
            spec = container.container.get(name)
            return Probe(spec, container, started) if spec else None

        self._startup = probe("startupProbe")
        self._readiness = probe("readinessProbe")
        self._liveness = probe("livenessProbe")
        self._started = self._startup is None

    def poll(self, now: datetime) -> None:
        """Run what is due: nothing else before the startup probe has succeeded once."""
        if not self._started and self._startup is not None:
            self._startup.poll(now)
            self._started = self._startup.succeeded
            return
        self._each(lambda probe: probe.poll(now))

    @property
    def ready(self) -> bool:
        """Whether requests may be sent."""
        return self._started and (self._readiness is None or self._readiness.succeeded)

    @property
    def failed(self) -> str:
        """Why the container must be killed; empty when it need not be."""
        if not self._started and self._startup is not None and self._startup.exhausted:
            return "the startup probe failed until its time was over"
        if self._liveness is not None and self._liveness.exhausted:
            return "the liveness probe failed"
        return ""

    def stop(self) -> None:
        """End what still runs."""
        for probe in (self._startup, self._readiness, self._liveness):
            if probe is not None:
                probe.stop()

    def _each(self, act: Callable[[Probe], None]) -> None:
        for probe in (self._readiness, self._liveness):
            if probe is not None:
                act(probe)
