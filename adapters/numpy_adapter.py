"""The reference as an adapter: it needs no framework, and it must conform."""

from collections.abc import Callable

import numpy as np

from ..reference import ACTIVATIONS, Activation, Array, Parameters, Structure, backpropagate
from ..reference.arithmetic import Arithmetic
from .base import Adapter, Observation, Program
from .scripts.numpy_script import numpy_script
from .scripts.script import Script


def _function(row: Activation) -> Callable[..., Array]:
    # The parameters of a row are bound already.
    return lambda z, **_: row.f(z)


def _slopes_at_kinks(row: Activation) -> dict[float, float]:
    return {kink.point: float(row.derivative(np.array([float(kink.point)]))[0]) for kink in row.kinks}


def _own(array: Array) -> Array:
    # NumPy multiplies strided arrays in another order than contiguous ones. A copy gives the same bits for both.
    return np.array(array, order="C")


class Numpy(Adapter):
    """`kterm.reference.backpropagate`, computed in the structure's dtype."""

    name = "numpy"
    version = np.__version__
    activations = {name: _function(row) for name, row in ACTIVATIONS.items()}  # noqa: RUF012  (declared by the base)
    arithmetic = {name: Arithmetic(flushing="never") for name in ("f64", "f32")}  # noqa: RUF012  (declared by the base)
    slopes_at_kinks = {name: _slopes_at_kinks(row) for name, row in ACTIVATIONS.items() if row.kinks}  # noqa: RUF012  (as above)

    def build(self, structure: Structure) -> Program:
        self.require(structure)

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            own = Parameters(tuple(map(_own, parameters.weights)), tuple(map(_own, parameters.biases)))
            with np.errstate(all="ignore"):  # as frameworks do: an overflow shows in the values
                answer = backpropagate(structure.network, own, _own(x), _own(y))
            return Observation(
                outputs=answer.outputs,
                error=np.asarray(answer.error),
                weight_gradients=answer.weight_gradients,
                bias_gradients=answer.bias_gradients,
                z=answer.z,
                x=answer.x[1:],
                k=answer.k,
            )

        return program

    def script(self, structure: Structure) -> Script:
        return numpy_script(structure)
