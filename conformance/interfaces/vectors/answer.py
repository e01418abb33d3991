"""Writing the results of an adapter to a folder, as a port in another language does: an example of such a folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ....adapters.quantities import arrays
from ....adapters.traces.container import read_arrays, write_arrays
from ....reference import Array, Parameters
from ...cases.case import Group, parse_case
from ...cases.plan import OptionError
from ...cases.regimes import REGIMES
from ...runners.runner import NoAnswer, Runner
from .judge import UNSUPPORTED, VectorSet


def answer_vectors(vectors: VectorSet, runner: Runner, results: Path, done: Callable[[], object] | None = None) -> None:
    """Write what an adapter answers to each structure. A structure that it does not support gets a file without arrays
    that says why. One in which it raises, or gives arrays of a wrong form, gets no file.

    Raises OptionError if the results cannot be written.
    """
    try:
        results.mkdir(parents=True, exist_ok=True)
        for entry in vectors.structures:
            path = results / entry["file"]
            inputs, _ = read_arrays(vectors.folder / entry["file"])
            try:
                given = answer_structure(runner, entry["cases"], inputs)
                write_arrays(path, {name: a for name, a in given.items() if name in entry["quantities"]}, {})
            except NoAnswer as no:
                if no.kind == "unsupported":
                    write_arrays(path, {}, {UNSUPPORTED: no.message})
            if done is not None:
                done()
    except OSError as error:
        raise OptionError(f"{results}: {error.strerror}; name a folder that can be written") from None


def answer_structure(runner: Runner, cases: list[str], inputs: dict[str, Array]) -> dict[str, Array]:
    """What an adapter answers to the cases of one structure, with the draws stacked. Raises NoAnswer."""
    parsed = [parse_case(case, tuple(REGIMES)) for case in cases]
    group = Group(parsed[0].structure, parsed[0].regime, parsed[0].seed, tuple(case.draw for case in parsed))
    runner.build(group.structure)
    depth, answers = group.structure.network.depth, list[dict[str, Array]]()
    for i in range(len(cases)):
        weights = tuple(inputs[f"W_{layer}"][i] for layer in range(1, depth + 1))
        biases = tuple(inputs[f"b_{layer}"][i] for layer in range(1, depth + 1) if f"b_{layer}" in inputs)
        answer = runner.call(group.regime, Parameters(weights, biases), inputs["x_0"][i], inputs["y"][i])
        answers.append(arrays(answer.require_form()))
    return {name: np.stack([one[name] for one in answers]) for name in answers[0]}
