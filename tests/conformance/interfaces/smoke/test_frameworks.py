"""Nothing is said of the adapters that are shipped."""

from contextlib import closing

import pytest

from kterm.conformance.interfaces.smoke.advise import findings_of
from kterm.conformance.interfaces.smoke.look import look_at
from kterm.conformance.runners.process import ProcessRunner


@pytest.mark.parametrize("name", ["torch", "torch-func", "jax"])
def test_nothing_is_said_of_a_shipped_adapter(name: str) -> None:
    pytest.importorskip(name.partition("-")[0])
    with closing(ProcessRunner(name)) as runner:
        look = look_at(runner)
    assert findings_of(look) == []
    assert not look.is_ended
    assert len(look.passed) > 30
