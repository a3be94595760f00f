"""Ten thousand generated specs: what the API server refuses it names, and what it takes we can run."""

from collections.abc import Iterator

import pytest
from cluster.controlplane import ControlPlane
from cluster.owned_tls import owned_tls
from parents import PLURALS
from spec_trials import Server, outcomes

SPECS = 10_000

pytestmark = pytest.mark.usefixtures("crds", "optional_apis")


@pytest.fixture
def server(control_plane: ControlPlane, namespace: str) -> Iterator[Server]:
    with owned_tls(control_plane.credentials.server_certificate) as tls:
        yield Server(control_plane, tls, namespace)


@pytest.mark.parametrize("kind", sorted(PLURALS))
def test_generated_specs(server: Server, namespace: str, kind: str) -> None:
    found = outcomes(server, namespace, kind, SPECS // len(PLURALS))
    wrong = [each for each in found if each not in ("taken", "refused")]
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong[:20])
    # Neither all good nor all bad, or the test says little.
    assert 0.1 < found.count("taken") / len(found) < 0.9
