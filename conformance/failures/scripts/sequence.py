"""The calls before the one that fails, as source: the programs, the numbers of each call, and the calls in order."""

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ....adapters import Script
from ....reference import Array
from ...cases.memory import first_way
from ...cases.regimes import Draw
from ..histories.history import History, distinct_draws, index_of
from .blocks import format_list, format_run_function_of, lay_out
from .literals import WIDTH, format_array

_MOST_PERIOD, _MOST_LINES = 8, 12


@dataclass(frozen=True)
class CallSequence:
    """The blocks of source up to the last call, and the source of that call. If the history has a reference, the blocks
    assign its results to `first`, and copies of them to `kept`. `given` is the name of the last call's numbers.
    """

    blocks: list[str]
    last: str
    given: str


def format_sequence(history: History, scripts: Sequence[Script]) -> CallSequence:
    """`scripts` are those of the history's programs."""
    drawn = distinct_draws(history)
    names = [f"inputs_{i}" for i in range(1, len(drawn) + 1)]
    called = {step.program for step in history.steps if step.draw is not None}
    runs = ["run"] if len(scripts) == 1 else [f"run_{i}" for i in range(1, len(scripts) + 1)]
    lines: list[str] = []
    built: set[int] = set()
    pending: list[tuple[str, str]] = []

    def flush() -> None:
        for run, some in itertools.groupby(pending, key=lambda call: call[0]):
            lines.extend(_format_calls(run, [name for _, name in some]))
        pending.clear()

    for i, step in enumerate(history.steps):
        if step.program not in built and len(scripts) > 1:
            flush()
            made = f"make_program_{step.program + 1}()"
            lines.append(f"{runs[step.program]} = {made}" if step.program in called else made)
        built.add(step.program)
        if step.draw is None:
            continue
        name = names[index_of(drawn, step)]
        if i == history.reference:
            flush()
            lines += [
                f"first = {runs[step.program]}(**{name})",
                "kept = {name: array.copy() for name, array in first.items()}",
            ]
        elif i < len(history.steps) - 1:
            pending.append((runs[step.program], name))
    flush()
    step = history.steps[-1]
    given = names[index_of(drawn, step)]
    blocks = [*_format_programs(history, scripts), *_format_inputs(names, drawn, history)]
    if lines:
        blocks.append("\n".join(lines))
    return CallSequence(blocks, f"{runs[step.program]}(**{given})", given)


def merge_preambles(scripts: Sequence[Script]) -> str:
    """Each line of the preambles once, with the imports first."""
    lines = list(dict.fromkeys(line for script in scripts for line in script.preamble.splitlines() if line.strip()))
    if len({script.preamble for script in scripts}) == 1:
        return scripts[0].preamble
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    others = [line for line in lines if line not in imports]
    return "\n".join([*imports, *([""] if others else []), *others])


def _format_programs(history: History, scripts: Sequence[Script]) -> Iterator[str]:
    if len(scripts) == 1:
        yield scripts[0].setup
        yield format_run_function_of(history.programs[0], scripts[0])
        return
    for i, (structure, script) in enumerate(zip(history.programs, scripts, strict=True), 1):
        body = "\n\n".join(filter(None, (script.setup, format_run_function_of(structure, script), "return run")))
        # Two blank lines set functions apart, but not inside of one.
        while "\n\n\n" in body:
            body = body.replace("\n\n\n", "\n\n")
        yield f"def make_program_{i}():\n{textwrap.indent(body, '    ')}"


def _format_inputs(names: Sequence[str], drawn: Sequence[tuple[int, Draw]], history: History) -> Iterator[str]:
    """An assignment for the numbers of each call that differs. An array that an earlier one holds already is taken from
    there, as the suite passes the same array again where it holds the same numbers.
    """
    known: dict[str, list[tuple[str, Array]]] = {}
    if any(structure.dtype == "bf16" for structure in history.programs):
        yield "# Numbers of bfloat16. NumPy has no bfloat16, so they are held as float32."
    for name, (_, draw) in zip(names, drawn, strict=True):
        lines, count = [], itertools.count(first_way(draw.x))

        def refer(slot: str, array: Array, name: str = name, count: Iterator[int] = count) -> str:
            return _refer(known, name, slot, array, lay_out(format_array(array), next(count), history.regime))

        for field, value in (("weights", draw.parameters.weights), ("biases", draw.parameters.biases)):
            slots = [f'["{field}"][{i}]' for i in range(len(value))]
            items = [refer(slot, array) for slot, array in zip(slots, value, strict=True)]
            if items:
                lines.append(f'"{field}": {format_list(items)},')
        for field, array in (("x", draw.x), ("y", draw.y)):
            slot = f'["{field}"]'
            lines.append(f'"{field}": {refer(slot, array)},')
        yield f"{name} = {{\n" + "\n".join(textwrap.indent(line, "    ") for line in lines) + "\n}"


def _refer(known: dict[str, list[tuple[str, Array]]], name: str, slot: str, array: Array, text: str) -> str:
    """The source of an array, which is `text`, or of the place in earlier numbers where it is held already."""
    earlier = known.setdefault(slot, [])
    for place, other in earlier:
        if other.shape == array.shape and other.dtype == array.dtype and other.tobytes() == array.tobytes():
            return place
    earlier.append((f"{name}{slot}", array))
    return text


def _format_calls(run: str, names: Sequence[str]) -> Iterator[str]:
    """Calls of one function one after another, in loops where they repeat."""
    count = len(names)
    for period in range(1, min(_MOST_PERIOD, count // 2) + 1):
        if all(name == names[i % period] for i, name in enumerate(names)):
            if period == 1:
                yield f"for _ in range({count}):\n    {run}(**{names[0]})"
            else:
                turn = ", ".join(names[:period])
                yield f"turn = ({turn})\nfor number in range({count}):\n    {run}(**turn[number % {period}])"
            return
    if count <= _MOST_LINES:
        yield from (f"{run}(**{name})" for name in names)
        return
    listed = textwrap.fill(f"order = ({', '.join(names)})", WIDTH, subsequent_indent="    ")
    yield f"{listed}\nfor given in order:\n    {run}(**given)"


def explain_calls(history: History) -> str:
    """How many calls the failure takes, in a sentence for the docstring."""
    calls = sum(step.draw is not None for step in history.steps)
    programs = f" of {len(history.programs)} programs" if len(history.programs) > 1 else ""
    if history.aim == "answer" and calls == 1:
        return "It needs another program, built in the same process: without that, the call is right."
    if history.aim == "answer":
        return (
            f"It takes {calls} calls{programs} in one process; the last shows it. Alone in a new process, that call is "
            "right."
        )
    return f"It takes {calls} calls{programs} in one process."


def format_check_of_kept(history: History) -> str:
    """Lines that compare what the reference call gave with what the last call gives, or with what it is now."""
    later = "later" if history.aim == "repeat" else "first"
    steps = [i for i, step in enumerate(history.steps) if step.draw is not None]
    at, last = steps.index(history.reference or 0) + 1, len(steps)
    what = (
        f"call {last} gives {{name}} as {{later[name].tolist()}}, call {at} with the same numbers as {{array.tolist()}}"
        if history.aim == "repeat"
        else f"{{name}} of call {at} was {{array.tolist()}}; after call {last} it is {{first[name].tolist()}}"
    )
    return "\n".join(
        (
            "for name, array in kept.items():",
            f"    same = np.array_equal(array, {later}[name], equal_nan=True)",
            f'    assert same, f"{what}"',
        )
    )
