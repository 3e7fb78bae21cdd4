"""What tests of `collect` begin with."""

import pytest

from launch.merging import scan


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every listing counts: what a test changes has another time by then."""
    monkeypatch.setattr(scan, "SETTLED_SECONDS", 0.0)
