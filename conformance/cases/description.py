"""What an adapter declares, as plain data."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ...adapters import Adapter, Limits
from ...adapters.declarations import QUANTITIES, check_declarations, clean_version
from ...reference import ACTIVATIONS, BIASES, DTYPES, Bias, name_with
from ...reference.arithmetic import Arithmetic


@dataclass(frozen=True)
class Description:
    """What an adapter declares, as plain data that travels between processes and into the record."""

    spec: str
    name: str
    version: str
    layout: str
    dtypes: tuple[str, ...]
    activations: tuple[str, ...]
    biases: tuple[Bias, ...]
    device: str
    max_structures: int | None
    slopes_at_kinks: tuple[tuple[str, float, float], ...] = ()
    """(activation, kink, f' there), for activations that the adapter has."""
    mutant: str | None = None
    """The name of the mutant that is planted in it."""
    has_script: bool = False
    """Whether its class can write a script of the framework's own calls."""
    framework: str = ""
    """The framework that computes, whose known divergences the adapter has."""
    framework_version: str = ""

    arithmetic: tuple[tuple[str, Arithmetic], ...] = ()
    """The arithmetic of matrix products that it declares, by dtype, for dtypes that it has."""

    limits: Limits | None = None
    zero_width: bool = False
    """Whether layers may have no units."""
    propagates: tuple[str, ...] = ()
    """What it promises not to lose on the way: some of "nan" and "inf"."""

    result_dtypes: tuple[tuple[str, str], ...] = ()
    """(quantity, dtype) for quantities that always come back in a wider dtype than is asked for."""

    fixed: tuple[str, ...] = ()
    """Those of `activations` whose parameters cannot be set. One with the values of the table has its plain name."""

    python: str | None = None
    """The Python interpreter that its host runs under, if the user named one."""

    def arithmetic_in(self, dtype: str) -> Arithmetic | None:
        """The arithmetic that it declares for a dtype; None if it declares none."""
        return dict(self.arithmetic).get(dtype)

    @property
    def one_sided(self) -> frozenset[str]:
        """The dtypes in which errors are toward zero by declaration."""
        return frozenset(dtype for dtype, one in self.arithmetic if one.is_one_sided)

    @property
    def conventions(self) -> dict[str, dict[float, float]]:
        """The declared slopes at kinks, by activation and kink."""
        found: dict[str, dict[float, float]] = {}
        for name, point, slope in self.slopes_at_kinks:
            found.setdefault(name, {})[point] = slope
        return found

    def to_json(self) -> dict[str, Any]:
        """The description in plain JSON types. What it need not declare is left out if it does not."""
        plain = asdict(self)
        for name in ("limits", "zero_width", "propagates", "result_dtypes", "fixed", "python"):
            if not getattr(self, name):
                del plain[name]
        if self.result_dtypes:
            plain["result_dtypes"] = dict(self.result_dtypes)
        return {
            **plain,
            "slopes_at_kinks": [list(one) for one in self.slopes_at_kinks],
            "arithmetic": {dtype: one.to_json() for dtype, one in self.arithmetic},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Description":
        """The inverse of `to_json`."""
        lists: dict[str, Any] = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
        lists["slopes_at_kinks"] = tuple(map(tuple, data["slopes_at_kinks"]))
        lists["arithmetic"] = tuple((dtype, Arithmetic(**one)) for dtype, one in data.get("arithmetic", {}).items())
        lists["result_dtypes"] = tuple(data.get("result_dtypes", {}).items())
        if data.get("limits") is not None:
            lists["limits"] = Limits(**data["limits"])
        return cls(**(data | lists))


def describe(adapter: Adapter, spec: str) -> Description:
    """What `adapter` declares, in canonical order.

    Raises ValueError, in one line that names the declaration, if the suite cannot use it: see
    `kterm.adapters.declarations.check_declarations`.
    """
    check_declarations(adapter)
    fixed = adapter.fixed_parameters
    return Description(
        spec,
        adapter.name,
        clean_version(adapter),
        adapter.weight_layout.name,
        tuple(name for name in DTYPES if name in adapter.dtypes),
        tuple(name_with(name, fixed.get(name, {})) for name in ACTIVATIONS if name in adapter.activations),
        tuple(name for name in BIASES if name in adapter.biases),
        adapter.device,
        None if adapter.max_structures is None else int(adapter.max_structures),
        tuple(_slopes_at_kinks(adapter)),
        adapter.planted_mutant,
        adapter.has_script,
        adapter.framework or adapter.name,
        (adapter.framework and adapter.framework_version) or clean_version(adapter),
        tuple((dtype, adapter.arithmetic[dtype]) for dtype in DTYPES if _declares(adapter, dtype)),
        adapter.limits and Limits(**adapter.limits.to_json()),
        adapter.zero_width,
        tuple(adapter.propagates),
        tuple((name, adapter.result_dtypes[name]) for name in QUANTITIES if name in adapter.result_dtypes),
        tuple(name_with(name, fixed[name]) for name in ACTIVATIONS if name in adapter.activations and name in fixed),
    )


def _declares(adapter: Adapter, dtype: str) -> bool:
    return dtype in adapter.dtypes and dtype in adapter.arithmetic


def _slopes_at_kinks(adapter: Adapter) -> Iterator[tuple[str, float, float]]:
    """The declared (activation, kink, slope) of activations that the adapter has, in canonical order."""
    for name in ACTIVATIONS:
        if name in adapter.activations and name in adapter.slopes_at_kinks:
            own, declared = name_with(name, adapter.fixed_parameters.get(name, {})), adapter.slopes_at_kinks[name]
            for kink in ACTIVATIONS[own].kinks:
                if kink.point in declared:
                    yield own, float(kink.point), float(declared[kink.point])
