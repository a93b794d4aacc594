"""Fixtures that start the real software clusters are made of, and stop it again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster import needs
from cluster.hosts import Cluster


def pytest_terminal_summary(terminalreporter):
    """Says at the end what this machine could not have."""
    for what, reason in needs.missed.items():
        terminalreporter.write_line(f"not run: {what} ({reason})", yellow=True)


@pytest.fixture
def hosts() -> Iterator[Callable[..., Cluster]]:
    """Makes clusters of so many hosts and a head."""
    needs.need("hosts")
    with ExitStack() as ends:

        def start(count: int, shared: Sequence[str | Path] = ()) -> Cluster:
            cluster = Cluster(count, shared)
            ends.callback(cluster.close)
            return cluster

        yield start
