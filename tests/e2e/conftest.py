"""A cluster whose node really runs pods; as root, `make e2e`."""

from collections.abc import Iterator

import pytest
from cluster import binaries
from cluster.commands import Run, runner
from cluster.real import programs
from cluster.real.cluster import RealCluster
from in_cluster import InCluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    try:
        programs.complain()
    except SystemExit as said:
        pytest.exit(str(said), returncode=1)
    started = RealCluster(folder=tmp_path_factory.mktemp("cluster") / "real")
    try:
        started.folder.mkdir()
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def kubectl(cluster: RealCluster) -> Run:
    return runner(binaries.find("kubectl"), cluster.plane.kubeconfig)


@pytest.fixture
def empty(cluster: RealCluster, kubectl: Run) -> Iterator[InCluster]:
    """A restricted namespace with a claim `models`."""
    there = InCluster(kubectl=kubectl, volumes=cluster.volumes)
    there.create()
    yield there
    there.delete()
