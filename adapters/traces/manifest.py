"""The manifest of a trace as types: which arrays are there, and what each of them is.

A trace is a folder with a manifest, `trace.json`, and a safetensors file for each training step. The manifest names the
arrays; the page on traces of the documentation describes each field. For one call of a dense layer,

    z = x W + b        dL/dx = k Wᵀ        dL/dW = xᵀ k        dL/db = Σ k        with k = dL/dz

`input` is x, `output` is z, `output_gradient` is k and `input_gradient` is dL/dx. Leading axes are flattened to rows.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

FORMAT: Literal["kterm-trace"] = "kterm-trace"
VERSION: Literal[1] = 1
MANIFEST = "trace.json"

Name = Annotated[str, Meta(min_length=1, max_length=500)]
Tensor = Annotated[str, Meta(min_length=1, max_length=500)]
"""The name of an array in the file of the step."""
Count = Annotated[int, Meta(ge=0, le=2**53)]
Layout = Literal["in_out", "out_in"]
DTypeName = Literal["f64", "f32", "f16", "bf16"]


class Products(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the products of a call are computed, where that is not the usual way of the dtype of its arrays.

    Factors and bias are first rounded to `dtype`, and so are the results of the products, as under autocast. `operands`
    is a format that factors lose digits to inside a product (tf32), and `accumulator` that of its sums.
    `bias_accumulator` is that of the sum of the rows of k, dL/db, which is no product. With `separate_bias`, the
    product x W is rounded before the bias is added to it.
    """

    dtype: DTypeName | None = None
    operands: Literal["tf32", "f16", "bf16"] | None = None
    accumulator: DTypeName | None = None
    bias_accumulator: DTypeName | None = None
    separate_bias: bool = False


class Activation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The activation behind a layer in one call: a = f(z) is `output`.

    `name` is one of the activation table. `output_gradient` is dL/da, and `input_gradient` what the activation gives
    back for it, dL/da ∘ f'(z). With `is_alone`, nothing else reads z, so that this is dL/dz itself.
    """

    name: Name
    output: Tensor | None = None
    output_gradient: Tensor | None = None
    input_gradient: Tensor | None = None
    is_alone: bool = False


class Call(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One call of a layer, with (N, inputs) and (N, outputs) arrays, N the product of `axes`.

    A lookup has indices (N,) as `input`: its x is the matrix with a 1 in each row. `weight` and `bias` are the values
    that the call read; `backward_weight` is the weight when the backward pass came to the call, if that was another.
    `backward` counts the backward passes of the step: calls of one pass may add their gradients before they are stored.
    """

    weight: Tensor
    input: Tensor | None = None
    output: Tensor | None = None
    output_gradient: Tensor | None = None
    input_gradient: Tensor | None = None
    bias: Tensor | None = None
    backward_weight: Tensor | None = None
    axes: tuple[Count, ...] = ()
    backward: Count = 0
    products: Products | None = None
    activation: Activation | None = None
    not_captured: tuple[str, ...] = ()


class Layer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A dense layer, or a lookup in a table, with its calls in one step. `weight` and `bias` name parameters."""

    name: Name
    weight: Name
    calls: tuple[Call, ...]
    layout: Layout = "in_out"
    bias: Name | None = None
    kind: Literal["dense", "lookup"] = "dense"
    type: str = ""
    not_captured: tuple[str, ...] = ()


class Parameter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A weight or a bias with its gradient at the end of the step: the sum over all calls of all layers that have it,
    on top of `gradient_before`, if the step began with one. `not_captured` says what else it may hold, or why there is
    none: such a gradient is not judged.
    """

    name: Name
    gradient: Tensor | None = None
    gradient_before: Tensor | None = None
    not_captured: str = ""


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One training step: its file, its layers in the order of their first call, and their parameters."""

    file: Name
    layers: tuple[Layer, ...]
    parameters: tuple[Parameter, ...] = ()
    notes: tuple[str, ...] = ()


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole trace. With `recomputed`, the arrays are those that a compiled program returned: where it used them, it
    may have had them with other roundings.
    """

    format: Literal["kterm-trace"]
    version: Literal[1]
    steps: tuple[Step, ...]
    framework: str = ""
    framework_version: str = ""
    device: str = ""
    recomputed: bool = False
    notes: tuple[str, ...] = ()
