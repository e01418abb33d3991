"""What a script consists of: the framework's own calls for one structure, as Python source without this suite."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Script:
    """The parts of a script for one structure, each as source.

    - `framework`: the framework's name in prose, such as "PyTorch".
    - `requires`: the name that pip installs it by.
    - `preamble`: the imports, among them `import numpy as np`, and settings.
    - `setup`: functions and constants that `calls` need, made once for a program. What a program keeps from call to
      call belongs here. It may be empty.
    - `calls`: statements that compute one pass. They read the NumPy arrays `x` and `y`, the list `weights` of arrays of
      shape (in, out), and the list `biases`, which is not defined for a network without biases. They must also work
      inside a function, and when they run again.
    - `shown`: for each quantity, by its name in reports (outputs, E, z_1, x_1, k_1, dE/dW_1, dE/db_1), an expression
      that is its NumPy array once `calls` have run. Weight gradients have the layout (in, out).

    NumPy has no bfloat16, so its arrays come in and go out as float32.
    """

    framework: str
    requires: str
    preamble: str
    setup: str
    calls: str
    shown: Mapping[str, str]


Spell = Callable[[str, str], str]
"""Takes an activation's canonical name and the name of a variable; returns the source of the call."""


@dataclass(frozen=True)
class Call:
    """A framework's own function of z, and the source of its call. An adapter calls it, and its script shows it.

    `name` is the function's name in a script, such as `F.gelu`. Where the framework has no such function, `expression`
    holds the formula instead, of z and the parameters in the suite's table. `fixed` holds keywords that are always
    passed. `renamed` maps a parameter in the table to the framework's keyword for it.
    """

    function: Callable[..., Any]
    name: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    expression: str = ""

    def __call__(self, z: Any, **parameters: float) -> Any:
        return self.function(z, **self._keywords(parameters))

    def source(self, z: str, parameters: Mapping[str, float]) -> str:
        """The source of the call; `z` is the name of the variable that it takes."""
        if self.expression:
            return fill_in(self.expression, z, parameters)
        given = (z, *(f"{key}={value!r}" for key, value in self._keywords(parameters).items()))
        return f"{self.name}({', '.join(given)})"

    def _keywords(self, parameters: Mapping[str, float]) -> dict[str, Any]:
        return {**self.fixed, **{self.renamed.get(key, key): value for key, value in parameters.items()}}


def fill_in(expression: str, z: str, parameters: Mapping[str, float]) -> str:
    """Put a variable's name and the values of the parameters into an expression."""
    given = {"z": z, **{key: repr(value) for key, value in parameters.items()}}
    return re.sub(rf"\b({'|'.join(given)})\b", lambda found: given[found[0]], expression)
