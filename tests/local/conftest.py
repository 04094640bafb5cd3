"""A store in a temporary file with a receiver in front."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro.local.receiver import Receiver
from otel_distro.local.store import Store

if TYPE_CHECKING:
    from pathlib import Path

Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store, without a run."""
    with Store(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def port(store: Store) -> Iterator[int]:
    """The port of a receiver that writes to ``store``."""
    with Receiver(store) as receiver:
        yield receiver.port


@pytest.fixture
def query(store: Store) -> Query:
    """A function that returns rows of ``store``, once everything accepted is committed."""

    def run(sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        assert store.flush(20)
        with closing(store.connect()) as connection:
            return connection.execute(sql, parameters).fetchall()

    return run
