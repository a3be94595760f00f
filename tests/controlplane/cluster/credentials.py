"""Who may do what: static tokens for people and programs, a key for service accounts, kubeconfigs."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

# Name -> (user, group). Programs use the identities that the API server's bootstrap RBAC roles are bound to.
USERS = {
    "admin": ("admin", "system:masters"),
    # One identity for all controllers needs what all of them need together: cluster admin.
    "kube-controller-manager": ("system:kube-controller-manager", "system:masters"),
    "kube-scheduler": ("system:kube-scheduler", ""),
    # Plays the kubelets of every node.
    "kwok": ("kwok", "system:masters"),
}


@dataclass(frozen=True, kw_only=True)
class Credentials:
    folder: Path

    @property
    def service_account_key(self) -> Path:
        return self.folder / "service-account.key"

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens.csv"

    @property
    def server_certificate(self) -> Path:
        """Made by the API server at its first start (--cert-dir); it signs itself and so is its own CA."""
        return self.folder / "apiserver.crt"

    def kubeconfig(self, name: str) -> Path:
        return self.folder / f"{name}.kubeconfig"

    def write(self) -> None:
        """Before the API server starts."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.service_account_key.write_bytes(_new_key())
        lines = [f'{secrets.token_hex(16)},{user},{name},"{group}"' for name, (user, group) in USERS.items()]
        self.tokens.write_text("\n".join(lines) + "\n")

    def write_kubeconfigs(self, server: str) -> None:
        for line in self.tokens.read_text().splitlines():
            token, _, name, _ = line.split(",")
            # JSON is YAML; every reader of a kubeconfig takes it.
            self.kubeconfig(name).write_text(json.dumps(self._kubeconfig(server, {"token": token}), indent=1))

    def write_kubeconfig_for(self, name: str, server: str, token: str) -> Path:
        """A kubeconfig for a service account's token, say."""
        self.kubeconfig(name).write_text(json.dumps(self._kubeconfig(server, {"token": token}), indent=1))
        return self.kubeconfig(name)

    def _kubeconfig(self, server: str, user: dict[str, str]) -> dict[str, object]:
        cluster = {"server": server, "certificate-authority": str(self.server_certificate)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }


def _new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
