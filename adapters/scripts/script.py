"""Scripts: the framework's own calls for one structure as Python source, for people who have the framework and not
this suite.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Script:
    """The calls of one structure.

    `framework` is what it is called in prose, and `requires` what pip installs it by.
    `preamble` holds the imports, NumPy's as `np` among them, and settings; `setup` the functions that `calls` need,
    where there are any. `calls` are the statements that then compute a pass from the NumPy arrays `x` and `y` and the
    lists of them `weights`, each (in, out), and `biases`, which they do not name where there are none. They may stand
    in a function, and be run again. `shown` gives for each quantity, by its name in reports (outputs, E, z_1, x_1, k_1,
    dE/dW_1 in the layout (in, out), dE/db_1), the expression that then is its NumPy array. bfloat16 goes in and comes
    out as float32, so that NumPy is enough.
    """

    framework: str
    requires: str
    preamble: str
    setup: str
    calls: str
    shown: Mapping[str, str]


Spell = Callable[[str, str], str]
"""From an activation's canonical name and the name of a variable to the source of its call."""


@dataclass(frozen=True)
class Call:
    """A framework's own function of z, and how a script calls it: both come from here.

    `name` is that of the function in a script, `F.gelu`. What the framework has no function of has an `expression` of z
    and of the parameters of the suite's table in its place. `fixed` are keywords that are always passed; `renamed` maps
    a parameter of the table to the framework's keyword for it.
    """

    function: Callable[..., Any]
    name: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    expression: str = ""

    def __call__(self, z: Any, **parameters: float) -> Any:
        return self.function(z, **self._keywords(parameters))

    def source(self, z: str, parameters: Mapping[str, float]) -> str:
        """The call as a script has it, of the variable that `z` names."""
        if self.expression:
            return filled(self.expression, z, parameters)
        given = (z, *(f"{key}={value!r}" for key, value in self._keywords(parameters).items()))
        return f"{self.name}({', '.join(given)})"

    def _keywords(self, parameters: Mapping[str, float]) -> dict[str, Any]:
        return {**self.fixed, **{self.renamed.get(key, key): value for key, value in parameters.items()}}


def filled(expression: str, z: str, parameters: Mapping[str, float]) -> str:
    """An expression of z and named parameters, with what stands for them put in."""
    given = {"z": z, **{key: repr(value) for key, value in parameters.items()}}
    return re.sub(rf"\b({'|'.join(given)})\b", lambda found: given[found[0]], expression)
