"""What holds of every test."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers compare the names of their tests, so none may hold the address of an object."""
    named = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if named:
        raise pytest.UsageError(f"give parametrize ids: {named[0]} has another name in each process")
