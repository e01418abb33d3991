"""Mistakes of a framework's machinery: caches, buffers, state from call to call, arrays read or written wrongly."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np

from ....adapters import Observation, Program
from ....reference import Array, Parameters, Structure
from ..mutant import Make, Mutant, Wrap


def _each(observed: Observation, change: Callable[[Array], Array]) -> Observation:
    """`change` of every array that an observation holds."""

    def changed(value: object) -> object:
        if value is None:
            return None
        return tuple(map(change, value)) if isinstance(value, tuple) else change(np.asarray(value))

    return Observation(**{f.name: changed(getattr(observed, f.name)) for f in fields(observed)})  # pyright: ignore[reportArgumentType]  (as they were)


def _answered(change: Callable[[Observation, Parameters, Array, Array], Observation]) -> Wrap:
    """A mistake in what one call gives."""

    def wrap(make: Make) -> Make:
        def made(structure: Structure) -> Program:
            program = make(structure)
            return lambda parameters, x, y: change(program(parameters, x, y), parameters, x, y)

        return made

    return wrap


def _in_place(observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
    if x.flags.writeable:
        x += x.dtype.type(1)
    return observed


def _steps_in_place(observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
    for weight, gradient in zip(parameters.weights, observed.weight_gradients, strict=True):
        if weight.flags.writeable:
            weight -= gradient
    return observed


def _unsummed(observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
    if observed.k is None:
        rows = tuple(np.broadcast_to(g, (len(x), len(g))).copy() for g in observed.bias_gradients)
    else:
        rows = observed.k[: len(observed.bias_gradients)]
    return replace(observed, bias_gradients=rows)


def _wider(observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
    wide = np.dtype(np.float64 if x.dtype != np.float64 else np.float32)
    return replace(observed, weight_gradients=tuple(g.astype(wide) for g in observed.weight_gradients))


def _empty_mean(observed: Observation, parameters: Parameters, x: Array, y: Array) -> Observation:
    return observed if len(x) else replace(observed, error=np.full_like(observed.error, np.nan))


def _copied_into(buffers: dict[tuple, Array], observed: Observation) -> Observation:
    """Every array of an observation written into a buffer that is there already."""
    count = iter(range(10_000))

    def written(array: Array) -> Array:
        buffer = buffers.setdefault((next(count), array.shape, array.dtype), np.empty_like(array, order="C"))
        buffer[...] = array
        return buffer

    return _each(observed, written)


def _overwrites(make: Make) -> Make:
    def made(structure: Structure) -> Program:
        program, buffers = make(structure), {}
        return lambda parameters, x, y: _copied_into(buffers, program(parameters, x, y))

    return made


def _cached(key: Callable[[Structure], tuple], last_wins: bool = False) -> Wrap:
    """Programs kept by too little: one that was made for another structure of that key is called."""

    def wrap(make: Make) -> Make:
        kept: dict[tuple, tuple[Structure, Program]] = {}

        def made(structure: Structure) -> Program:
            if last_wins or key(structure) not in kept:
                kept[key(structure)] = structure, make(structure)

            def program(parameters: Parameters, x: Array, y: Array) -> Observation:
                return _called(*kept[key(structure)], structure, parameters, x, y)

            return program

        return made

    return wrap


def _called(
    own: Structure, program: Program, asked: Structure, parameters: Parameters, x: Array, y: Array
) -> Observation:
    """A program called with another structure's arrays, which are made to fit it."""

    def given(array: Array) -> Array:
        return array.astype(own.format.numpy, copy=False)

    def back(array: Array) -> Array:
        return array.astype(asked.format.numpy, copy=False)

    widths = own.network.widths[1:]
    biases: tuple[Array, ...] = ()
    if own.network.bias != "none":
        biases = parameters.biases or tuple(np.zeros(n, x.dtype) for n in widths)
    fitting = Parameters(tuple(map(given, parameters.weights)), tuple(map(given, biases)))
    observed = _each(program(fitting, given(x), given(y)), back)
    if asked.network.bias == "none":
        return replace(observed, bias_gradients=())
    return replace(observed, bias_gradients=observed.bias_gradients or tuple(np.zeros(n, x.dtype) for n in widths))


def _shape(structure: Structure) -> tuple:
    return structure.network.widths, structure.batch


def _bits(arrays: tuple[Array, ...]) -> bytes:
    return b"".join(a.tobytes() for a in arrays)


def _remembered(key: Callable[[Parameters, Array, Array], bytes]) -> Wrap:
    """The last answer given again where the inputs are the same in part."""

    def wrap(make: Make) -> Make:
        def made(structure: Structure) -> Program:
            program = make(structure)
            last: list[tuple[bytes, Observation]] = []

            def remembering(parameters: Parameters, x: Array, y: Array) -> Observation:
                now = key(parameters, x, y)
                if not last or last[0][0] != now:
                    last[:] = [(now, program(parameters, x, y))]
                return _each(last[0][1], np.array)

            return remembering

        return made

    return wrap


def _constant_weights(make: Make) -> Make:
    """The first call's weights are compiled in."""

    def made(structure: Structure) -> Program:
        program, kept = make(structure), list[Parameters]()

        def compiled(parameters: Parameters, x: Array, y: Array) -> Observation:
            if not kept:
                kept.append(Parameters(tuple(map(np.array, parameters.weights)), parameters.biases))
            return program(replace(parameters, weights=kept[0].weights), x, y)

        return compiled

    return made


def _every(count: int) -> Wrap:
    """One call in `count` gives a first weight gradient that is off by 1/64."""

    def wrap(make: Make) -> Make:
        calls = iter(range(1, 1 << 62))

        def made(structure: Structure) -> Program:
            program = make(structure)

            def unsteady(parameters: Parameters, x: Array, y: Array) -> Observation:
                observed = program(parameters, x, y)
                if next(calls) % count:
                    return observed
                first, *rest = observed.weight_gradients
                return replace(observed, weight_gradients=(first * first.dtype.type(1 + 1 / 64), *rest))

            return unsteady

        return made

    return wrap


def _first_call(make: Make) -> Make:
    """What the first call of a program gives is of the initial weights, which are small."""

    def made(structure: Structure) -> Program:
        program, warm = make(structure), list[bool]()

        def warming(parameters: Parameters, x: Array, y: Array) -> Observation:
            if warm:
                return program(parameters, x, y)
            warm.append(True)
            eighth = tuple(w * w.dtype.type(0.125) for w in parameters.weights)
            return program(replace(parameters, weights=eighth), x, y)

        return warming

    return made


def _transposed_if_square(make: Make) -> Make:
    def turned(a: Array) -> Array:
        return np.ascontiguousarray(a.T) if a.shape[0] == a.shape[1] else a

    def made(structure: Structure) -> Program:
        program = make(structure)

        def transposing(parameters: Parameters, x: Array, y: Array) -> Observation:
            observed = program(replace(parameters, weights=tuple(map(turned, parameters.weights))), x, y)
            return replace(observed, weight_gradients=tuple(map(turned, observed.weight_gradients)))

        return transposing

    return made


def _strides_ignored(make: Make) -> Make:
    def flat(a: Array) -> Array:
        return a.ravel(order="K").reshape(a.shape)

    def made(structure: Structure) -> Program:
        program = make(structure)

        def reading(parameters: Parameters, x: Array, y: Array) -> Observation:
            return program(Parameters(tuple(map(flat, parameters.weights)), parameters.biases), flat(x), flat(y))

        return reading

    return made


def _float32_inside(make: Make) -> Make:
    def made(structure: Structure) -> Program:
        if structure.dtype != "f64":
            return make(structure)
        narrow = replace(structure, dtype="f32")
        program = make(narrow)
        return lambda parameters, x, y: _called(narrow, program, structure, parameters, x, y)

    return made


_AGAIN = "the same call, made again"

PROGRAMS: tuple[Mutant, ...] = (
    Mutant(
        "inputs-modified", "inputs modified in place", "x_0 is not what it was before the call",
        "a caller that does not look", wraps=_answered(_in_place), shows="inputs were modified in place",
    ),
    Mutant(
        "weights-modified", "the descent step taken in the caller's own weights", "weights are not what they were",
        "a caller that does not look", wraps=_answered(_steps_in_place), shows="inputs were modified in place",
    ),
    Mutant(
        "bias-unsummed", "bias gradients that are not summed over the batch", "a row for each example",
        "no bias", wraps=_answered(_unsummed), shows="dE/db_1 has shape",
    ),
    Mutant(
        "other-dtype", "weight gradients in another dtype than asked for", "float64 for float32, or the reverse",
        "a caller that does not look", wraps=_answered(_wider), shows="is asked for",
    ),
    Mutant(
        "empty-mean", "a mean over an empty batch", "E is NaN where it is 0", "every batch that is not empty",
        wraps=_answered(_empty_mean), shows="E not finite",
    ),
    Mutant(
        "views", "observations that are views into a buffer overwritten by the next call", "earlier answers change",
        "a caller that copies", wraps=_overwrites, shows="an earlier observation was changed by a later call",
    ),
    Mutant(
        "stale-program", "a program reused for another structure of the same shape",
        "its activations are those of the structure that came first", "no two structures of one shape in a process",
        wraps=_cached(lambda s: (*_shape(s), s.dtype, s.network.bias)),
    ),
    Mutant(
        "stale-bias", "a program reused whatever its bias placement", "its bias is where it was in the first",
        "no two structures that differ in that alone",
        wraps=_cached(lambda s: (*_shape(s), s.dtype, s.network.activations)),
    ),
    Mutant(
        "stale-dtype", "a program reused whatever its dtype", "computed in the dtype that came first",
        "no two structures that differ in that alone",
        wraps=_cached(lambda s: (*_shape(s), s.network.activations, s.network.bias)),
    ),
    Mutant(
        "replaced-program", "a program replaced by a later one of the same shape", "its answers change with that",
        "no two structures of one shape in a process",
        wraps=_cached(lambda s: (*_shape(s), s.dtype, s.network.bias), last_wins=True),
        shows="changed its answer",
    ),
    Mutant(
        "weights-ignored", "the answer to the same x and y given again whatever the weights", "a descent stands still",
        "other inputs in every call", wraps=_remembered(lambda p, x, y: _bits((x, y))),
    ),
    Mutant(
        "targets-ignored", "the answer to the same x and weights given again whatever the targets", "y has no effect",
        "other inputs in every call", wraps=_remembered(lambda p, x, y: _bits((*p.weights, *p.biases, x))),
    ),
    Mutant(
        "constant-weights", "the first call's weights compiled into the program", "later weights have no effect",
        "one call a program", wraps=_constant_weights,
    ),
    Mutant(
        "one-in-fifty", "one call in fifty with a first gradient that is off by 1/64", "nondeterminism",
        "fewer than fifty calls", wraps=_every(50), shows=_AGAIN,
    ),
    Mutant(
        "first-call", "the first call of a program with weights that are not the given ones", "a warm-up that shows",
        "a caller that does not look at the first", wraps=_first_call, shows=_AGAIN,
    ),
    Mutant(
        "transposed-if-square", "the layout transposed only when a matrix is square", "x W^T and its gradient",
        "every shape that is not square", wraps=_transposed_if_square, shows="consistent with weights laid out",
    ),
    Mutant(
        "strides-ignored", "arrays read in the order of memory, whatever their strides", "Fortran order is transposed",
        "contiguous arrays", wraps=_strides_ignored,
    ),
    Mutant(
        "float32-inside", "float64 silently computed in float32", "half of the digits are lost",
        "a tolerance made for float32; every dtype but float64", wraps=_float32_inside,
    ),
)  # fmt: skip
