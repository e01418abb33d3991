"""`kterm.capture`: record the training steps of a model, whichever framework it belongs to.

with kterm.capture(model) as trace:
    loss = loss_of(model(x), y)
    loss.backward()
    trace.end_step()
trace.save("folder")
"""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from .errors import TraceError

_CAPTURES = (
    ("keras", "keras.capture", "capture_keras"),
    ("torch", "pytorch.capture", "TorchCapture"),
    ("flax", "functional.nnx_capture", "capture_nnx"),
    ("equinox", "functional.equinox_capture", "capture_equinox"),
)
"""For each framework: the package that its models inherit from, the module here, and what makes the capture. Keras is
the first, since its models are modules of its backend too.
"""


def capture(model: Any, to: str | os.PathLike[str] | None = None, *, dense: Sequence[str] = ()) -> Any:
    """Record what each dense layer of a model is given and gives, in the steps that run inside the block.

    `model` is a `torch.nn.Module`, an `nnx.Module` of flax, an `eqx.Module` of equinox, or a model of Keras on PyTorch
    or JAX. Returns a context manager; see `TorchCapture`, `FunctionalCapture`, `TorchKerasCapture` and
    `JaxKerasCapture` for its use. With `to`, a new or empty folder, arrays are written there, and memory holds only
    what the block still needs. `dense` names modules of PyTorch, or layers of Keras, that are dense layers with a
    kernel of their own, such as ["blocks.*.mlp.up"]. Raises TraceError, in one line, for other models, and for those
    that have no dense layer.
    """
    packages = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    for package, module, name in _CAPTURES:
        if package in packages:
            return getattr(import_module(f".{module}", __package__), name)(model, to, dense)
    known = ", ".join(package for package, _, _ in (*_CAPTURES[1:], _CAPTURES[0]))
    raise TraceError(f"capture: {type(model).__name__} is not a model of {known}; give the model itself")
