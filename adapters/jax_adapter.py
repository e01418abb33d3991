"""JAX: `grad` of a pure function, in three ways: compiled, operation by operation, and mapped over a batch."""

import jax

from ..reference import Structure
from .base import Function
from .frameworks.shared.jax_gradients import compile_gradients, make_squared_error, map_gradients, run_gradients_eagerly
from .frameworks.shared.jax_shared import JaxAdapter
from .scripts.jax_script import jax_script
from .scripts.script import Script


class Jax(JaxAdapter):
    """`jit(grad(E))`, compiled once for a structure. k_i is the gradient with respect to zeros that are added to z_i.

    Products have JAX's default precision, since that is what its users run. On a GPU it may be lower than the dtype's.
    """

    name = "jax"
    zero_width = True
    make_gradients = staticmethod(compile_gradients)

    def make_backpropagate(self, structure: Structure) -> Function:
        return self.make_gradients(make_squared_error(self.functions(structure), structure.network.bias))

    def script(self, structure: Structure) -> Script:
        # A script does not name the device that JAX takes by default.
        device = "" if self.place() == jax.devices()[0] else self.device
        squared_error = make_squared_error((), structure.network.bias)
        return jax_script(structure, self.spell, device, squared_error, self.make_gradients)


class JaxEager(Jax):
    """The same function, not compiled: JAX runs each operation by itself."""

    name = "jax-eager"
    max_structures: int | None = 6
    make_gradients = staticmethod(run_gradients_eagerly)


class JaxVmap(Jax):
    """The gradients of single examples by `vmap`, summed over the batch inside the compiled function."""

    name = "jax-vmap"
    make_gradients = staticmethod(map_gradients)
