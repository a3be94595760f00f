"""A container as a command of this machine: its paths, ports, host names and variables made local. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_operator.core.objects import Manifest
from finetune_operator.local.environments import Environment
from finetune_operator.local.errors import LocalError
from finetune_operator.local.mounts import Mounts
from finetune_operator.local.ports import Ports
from finetune_operator.local.process import Command

_ANNOTATION = re.compile(r"^metadata\.(annotations|labels)\['(.+)'\]$")
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
# Another interpreter's or another run's; a container would not see them.
_NOT_INHERITED = re.compile(
    r"^(PYTHON(PATH|HOME)|VIRTUAL_ENV|(FINETUNE|PET|PYTEST)_.*|MASTER_(ADDR|PORT)|.*(RANK|WORLD_SIZE))$"
)


@dataclass(frozen=True, kw_only=True)
class LocalContainer:
    """A pod's container with everything that stands for its cluster on this machine."""

    pod: Manifest
    container: Manifest
    environment: Environment
    mounts: Mounts
    ports: Ports
    log: Path
    termination_log: Path
    scratch: Path
    machine_env: Mapping[str, str]

    @property
    def env(self) -> dict[str, str]:
        """The whole environment: the machine's, then the container's."""
        env = {k: v for k, v in self.machine_env.items() if not _NOT_INHERITED.match(k)}
        env["PATH"] = f"{self.environment.bin}:{env.get('PATH', '')}"
        env["FINETUNE_TERMINATION_LOG"] = str(self.termination_log)
        own: dict[str, str] = {}
        for variable in self.container.get("env", []):
            name = variable["name"]
            own[name] = self._localize(name, self._value(variable, own))
        return {**env, **own}

    def command(self) -> Command:
        """Return the command of the container itself."""
        words = [*self.container["command"], *self.container.get("args", [])]
        grace = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        return self._command(words, self.log, grace)

    def exec_command(self, words: list[str], log: Path) -> Command:
        """Return a command that runs inside the container, as a probe does."""
        return self._command(words, log, 1)

    def _command(self, words: list[str], log: Path, grace: int) -> Command:
        env = self.env
        argv = [self.mounts.localize(_expand(word, env)) for word in words]
        argv[0] = self.environment.resolve(argv[0])
        return Command(argv=tuple(argv), env=env, log=log, cwd=self.scratch, grace_seconds=grace)

    def _value(self, variable: Manifest, before: Mapping[str, str]) -> str:
        """Return a variable's value; $(NAME) stands for a variable before it, as in Kubernetes."""
        source = variable.get("valueFrom")
        if source is None:
            return _expand(str(variable.get("value", "")), before)
        if "fieldRef" in source:
            return self._field(source["fieldRef"]["fieldPath"])
        name = variable["name"]
        if name in self.machine_env:
            return str(self.machine_env[name])
        raise LocalError(
            f"{name} comes from a Secret or a ConfigMap on a cluster, and there is none on this machine",
            f"export {name} before `finetune run`",
        )

    def _field(self, path: str) -> str:
        metadata = self.pod["metadata"]
        if found := _ANNOTATION.match(path):
            return str(metadata.get(found[1], {}).get(found[2], ""))
        fields = {f"metadata.{key}": str(metadata[key]) for key in ("name", "namespace")}
        return fields.get(path, "127.0.0.1")

    def _localize(self, name: str, value: str) -> str:
        subdomain = self.pod["spec"].get("subdomain")
        if subdomain and re.match(rf"^[a-z0-9-]+\.{re.escape(subdomain)}(\.|$)", value):
            return "127.0.0.1"  # every pod is on this machine
        return self.mounts.localize(self.ports.localize(name, value))


def _expand(text: str, env: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda m: env.get(m[1], m[0]), text)
