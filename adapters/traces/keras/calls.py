"""Calls of layers, with a look at z where the layer has it: in front of its activation."""

from collections.abc import Callable
from typing import Any

AtOutput = Callable[[Any, Any], Any]
"""Is given z and the layer's activation, or None, and returns what the layer goes on with."""


def run_with(layer: Any, run: Callable[[], Any], at_output: AtOutput) -> Any:
    """Run the call of a layer that may have an `activation`, with `at_output` in its place while it runs. A layer that
    does not call it, or has none, gives `at_output` what it returns.
    """
    activation, own = getattr(layer, "activation", None), vars(layer)
    if activation is None:
        return at_output(run(), None)
    was_there, before, calls = "activation" in own, own.get("activation"), 0

    def stand_in(z: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return activation(z, *args, **kwargs) if calls > 1 or args or kwargs else at_output(z, activation)

    # Not by setattr, which Keras tracks.
    own["activation"] = stand_in
    try:
        z = run()
    finally:
        if was_there:
            own["activation"] = before
        else:  # a layer as activation may be kept elsewhere
            del own["activation"]
    return z if calls else at_output(z, None)
