"""A training step of a small network in NumPy, as a trace. Products are computed in the dtype of the arrays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from msgspec import structs

from kterm.adapters.traces.manifest import Activation, Call, Layer, Parameter
from kterm.adapters.traces.trace import Trace, TraceBuilder
from kterm.reference import ACTIVATIONS, Array
from kterm.reference import Activation as Row

Change = Callable[["Arrays"], None]


@dataclass
class Arrays:
    """What is written of one call, by field, and of a step: a mistake edits it."""

    fields: dict[str, Array] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.fields[name]

    def __setitem__(self, name: str, array: Array) -> None:
        self.fields[name] = array


@dataclass(frozen=True)
class Small:
    """Dense layers with an activation behind each, `passes` micro-batches of (batch, length) rows a step."""

    widths: tuple[int, ...] = (12, 20, 16, 8)
    activation: str = "tanh"
    axes: tuple[int, ...] = (3, 5)
    passes: int = 1
    steps: int = 1
    dtype: str = "float32"
    layout: str = "out_in"
    seed: int = 0
    scale: float = 1.0

    def trace(
        self,
        calls: Mapping[tuple[int, int, int], Change] | None = None,
        gradients: Callable[[int, int, Arrays, list[Arrays]], None] | None = None,
    ) -> Trace:
        """The trace. `calls` changes what is written of a call, by (step, pass, layer); `gradients` changes `W` and `b`
        of a layer in a step, and is given the arrays of its calls.
        """
        rng, builder = np.random.default_rng(self.seed), TraceBuilder(framework="small", framework_version="1")
        dtype, depth = np.dtype(self.dtype), len(self.widths) - 1
        rows = int(np.prod(self.axes))
        weights = [
            (rng.normal(size=pair) * self.scale / pair[0] ** 0.5).astype(dtype)
            for pair in zip(self.widths, self.widths[1:], strict=False)
        ]
        biases = [rng.normal(size=n).astype(dtype) / 4 for n in self.widths[1:]]
        row = ACTIVATIONS[self.activation]
        for step in range(self.steps):
            written: list[list[Arrays]] = [[] for _ in range(depth)]
            for _ in range(self.passes):
                one = self._run(rng.normal(size=(rows, self.widths[0])).astype(dtype), weights, biases, row, rng)
                for i in range(depth):
                    written[i].append(one[i])
            layers, parameters = [], []
            for i in range(depth):
                for number, arrays in enumerate(written[i]):
                    if calls is not None and (step, number, i) in calls:
                        calls[step, number, i](arrays)
                sums = Arrays(
                    {
                        "W": np.sum([a["x"].T @ a["k"] for a in written[i]], axis=0, dtype=dtype),
                        "b": np.sum([a["k"].sum(0) for a in written[i]], axis=0, dtype=dtype),
                    }
                )
                if gradients is not None:
                    gradients(step, i, sums, written[i])
                made = [self._call(builder, f"{i}.{number}", one, number) for number, one in enumerate(written[i])]
                layers.append(
                    Layer(
                        name=f"layers.{i}",
                        weight=f"layers.{i}.weight",
                        bias=f"layers.{i}.bias",
                        calls=tuple(made),
                        layout="out_in" if self.layout == "out_in" else "in_out",
                        type="Linear",
                    )
                )
                parameters += [
                    Parameter(name=f"layers.{i}.weight", gradient=builder.put(f"{i}.gW", self._native(sums["W"]))),
                    Parameter(name=f"layers.{i}.bias", gradient=builder.put(f"{i}.gb", sums["b"])),
                ]
                weights[i] = weights[i] - dtype.type(0.01) * sums["W"]
            builder.end_step(layers, parameters)
        return builder.trace()

    def _run(
        self, x: Array, weights: list[Array], biases: list[Array], row: Row, rng: np.random.Generator
    ) -> list[Arrays]:
        dtype, found = x.dtype, []
        for w, b in zip(weights, biases, strict=True):
            z = x @ w + b
            a = row.f(z.astype(float)).astype(dtype)
            found.append(Arrays({"x": x, "W": w, "b": b, "z": z, "a": a}))
            x = a
        back = rng.normal(size=x.shape).astype(dtype)
        for one, w in zip(reversed(found), reversed(weights), strict=True):
            one["ga"] = back
            one["k"] = (back * row.derivative(one["z"].astype(float)).astype(dtype)).astype(dtype)
            one["gz"] = one["k"]
            back = one["gx"] = one["k"] @ w.T
        return found

    def _native(self, weight: Array) -> Array:
        return np.ascontiguousarray(weight.T) if self.layout == "out_in" else weight

    def _call(self, builder: TraceBuilder, name: str, a: Arrays, number: int) -> Call:
        def put(field_: str) -> str:
            return builder.put(f"{name}.{field_}", a[field_])

        call = Call(
            weight=builder.put(f"{name}.W", self._native(a["W"])),
            bias=put("b"),
            input=put("x"),
            output=put("z"),
            output_gradient=put("k"),
            input_gradient=put("gx"),
            axes=self.axes,
            backward=number,
            activation=Activation(
                name=self.activation,
                output=put("a"),
                output_gradient=put("ga"),
                input_gradient=put("gz"),
                is_alone=True,
            ),
        )
        if "W after" in a.fields:
            call = structs.replace(call, backward_weight=builder.put(f"{name}.W after", self._native(a["W after"])))
        return call
