"""One test for each structure: pytest tests -k square runs those of one regime."""

from my_port.kterm_adapter import MyPort

from kterm import parametrize_with_cases


@parametrize_with_cases(MyPort(), profile="smoke")
def test_gradients(check):
    check()
