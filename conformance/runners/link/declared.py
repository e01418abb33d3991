"""What an adapter in another process declares, checked as the declarations of an adapter in this one are."""

from typing import Any

from msgspec.structs import asdict

from ....adapters import Adapter, Limits, Program, WeightLayout
from ....adapters.layout import IN_OUT, OUT_IN
from ....reference import Structure
from ....reference.arithmetic import Arithmetic
from ...cases.description import Description, describe
from .client import NotLoadedError
from .messages import Declaration

WIRE_LAYOUTS = {"in_out": IN_OUT, "out_in": OUT_IN}
"""Weight layouts by their names in messages."""

CONVERTS = "converts"
"""In `optional`: the host takes and gives weights as (in, out), and converts them itself. It may have any layout."""
MEMORY = "memory"
"""In `optional`: the host lays out arrays in memory as a call says."""
REREAD = "reread"
"""In `optional`: the method `reread` gives the first observation of a program as it is now."""
SCRIPT = "script"
"""In `optional`: the method `script` gives the adapter's own calls as source."""


class _Declared(Adapter):
    """The declarations of an adapter, without its programs."""

    def __init__(self, declared: Declaration, device: str | None, mutant: str | None) -> None:
        activations: Any = dict.fromkeys(declared.activations)
        biases: Any = declared.biases
        self.name, self.version = declared.name, declared.version
        self.framework, self.framework_version = declared.framework, declared.framework_version
        self.weight_layout = _layout_of(declared)
        self.dtypes, self.activations, self.biases = declared.dtypes, activations, biases
        of_each = asdict(declared.limits)
        self.max_structures = of_each.pop("max_structures")
        limits = Limits(**of_each)
        self.limits = None if limits == Limits() else limits
        slopes: dict[str, dict[float, float]] = {}
        for name, point, slope in declared.kinks:
            slopes.setdefault(name, {})[point] = slope
        self.slopes_at_kinks = slopes
        self.zero_width, self.propagates = declared.zero_width, declared.propagates
        self.arithmetic = {dtype: Arithmetic(**asdict(one)) for dtype, one in declared.arithmetic.items()}
        self.result_dtypes = declared.result_dtypes
        self.fixed_parameters = declared.fixed_parameters
        self.device = declared.device or device or "cpu"
        self.planted_mutant = mutant
        self._has_script = declared.has_script and SCRIPT in declared.optional

    @property
    def has_script(self) -> bool:
        return self._has_script

    def build(self, structure: Structure) -> Program:
        raise NotImplementedError("its programs are in another process")


def describe_declared(
    declared: Declaration, spec: str, device: str | None, mutant: str | None
) -> tuple[Adapter, Description]:
    """What a process declared, as an adapter without programs and as its description. Raises NotLoadedError, in one
    line, for a declaration that the suite cannot use.
    """
    try:
        adapter = _Declared(declared, device, mutant)
        return adapter, describe(adapter, spec)
    except ValueError as error:
        raise NotLoadedError(str(error)) from None


def _layout_of(declared: Declaration) -> WeightLayout:
    known = WIRE_LAYOUTS.get(declared.layout)
    if known is not None:
        return known
    if CONVERTS in declared.optional:
        return WeightLayout(declared.layout, lambda matrix: matrix, lambda matrix: matrix)
    raise NotLoadedError(
        f"adapter {declared.name}: layout: unknown {declared.layout!r}; known are {', '.join(WIRE_LAYOUTS)}"
    )
