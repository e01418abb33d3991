"""Read damaged files of expectations, or damaged case ids, and see that each is taken or refused in one line, in time
and memory.

    python -m benchmarks.cost.fuzzed_text expectations --count 20000
    python -m benchmarks.cost.fuzzed_text cases --count 20000

Files are the shipped expectations with one to three changes: bytes and lines as in `benchmarks.cost.fuzzed_records`,
and values replaced by values of another kind, long patterns, or patterns with many wildcards. What is read is audited
against the adapters numpy, torch and jax and matched with a finding, as in a run. Ids are those of planned cases with
one to three changes of characters, fields and numbers; a case that is named is examined, at the size that it names.
"""

import argparse
import random
import re
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.cost.fuzzed_records import damage_text
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import CaseError, Group, parse_case
from kterm.conformance.cases.description import Description, describe
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.cases.plan import Options, plan
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.expectations.audit import ExpectationAudit
from kterm.conformance.expectations.expectation import SHIPPED, ExpectationError, expectation_for, read
from kterm.conformance.runners.runner import LocalRunner

_VALUES = (
    '""', '"*"', '"[!"', '"[a-"', r'"\u0000"', r'"\u202e"', "1", "-1", "1e400", "nan", "true", "[]", "[[]]",
    '["*", 3]', "{}", "{ a = {} }", "1979-05-27", f'"{"*a" * 200}"', f'"{"?*" * 500}"', f'"{"x" * 10**5}"',
    f'"{"[" * 1000}"', '">=1,<"', f'"{"1." * 5000}"',
)  # fmt: skip
"""Values of TOML that replace others."""
_FIELDS = (
    "0", "00", "1", "7", "64", "131072", "131073", "9" * 19, "9" * 40, "x", "s", "-", ".", "", "tanh", "relu",
    "lattice", "tails", "kinks", "f16", "f64", "elu(2)", "\n", "\u202e", "\x00", "é", "b3", "s3.4",
)  # fmt: skip
"""Parts of ids that replace others."""


def damage_toml(text: str, rng: random.Random) -> str:
    """The text of a file with one to three changes."""
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.4:
            text = damage_text(text.encode("utf-8", "surrogateescape"), rng).decode("utf-8", "surrogateescape")
            continue
        places = list(re.finditer(r"(?m)^([a-z_]+ *= *)(.+)$", text))
        if places:
            found = rng.choice(places)
            key = rng.choice((found[1], f"{rng.choice(('formula', 'size', 'device', 'versions', 'x' * 99))} = "))
            text = f"{text[: found.start()]}{key}{rng.choice(_VALUES)}{text[found.end() :]}"
    return text


def damage_id(case: str, rng: random.Random) -> str:
    """An id with one to three changes."""
    for _ in range(rng.randint(1, 3)):
        parts = re.findall(r"[0-9]+|[a-z_]+|[^0-9a-z_]+", case)
        i = rng.randrange(len(parts)) if parts else 0
        match rng.randrange(5):
            case 0 if parts:
                parts[i] = rng.choice(_FIELDS)
            case 1 if parts:
                parts[i] *= rng.choice((2, 3, 200))
            case 2 if parts:
                del parts[i]
            case 3:
                parts.insert(i, rng.choice(_FIELDS))
            case _ if parts and parts[i].isdigit():
                parts[i] = str(int(parts[i][:9]) * rng.choice((0, 2, 10, 1000)))
        case = "".join(parts)
    return case


def try_expectations(text: str, folder: Path, adapters: tuple[Description, ...]) -> str:
    """What is said of a file of expectations, in one line or nothing."""
    path = folder / "e.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    finding = Verdict(
        "4x3-gelu_tanh-b2-none-f32-tails-s0", "k_terms", "k_1", "wrong", 3.0, activation="gelu_tanh", slack=1e-9
    )
    try:
        entries = read(path)
        audit = ExpectationAudit(entries, adapters, Options("smoke"), True)
    except ExpectationError as error:
        return str(error)
    for one in adapters:
        expectation_for(finding, audit.of(one))
        for entry in audit.of(one):
            entry.count_cases([[finding.case, finding.case.replace("-s0", "-s1")]])
    return ""


def try_case(text: str, runner: LocalRunner) -> str:
    """What is said of an id, in one line or nothing. The case that it names is examined."""
    try:
        case = parse_case(text, tuple(REGIMES))
    except CaseError as error:
        return str(error)
    examine(Group(case.structure, case.regime, case.seed, (case.draw,)), runner)
    return ""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("expectations", "cases"))
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    said, slowest, slow = Counter[str](), 0.0, ""
    numpy = describe(Numpy(), "numpy")
    groups = plan(numpy, Options("quick")).groups
    ids = [case.id for group in groups for case in group.cases[:1]]
    adapters = (
        numpy,
        *(replace(numpy, name=name, framework=name, framework_version="2.0") for name in ("torch", "jax")),
    )
    shipped = SHIPPED.read_text(encoding="utf-8")
    runner = LocalRunner(Numpy())
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        tried: dict[str, Callable[[random.Random], tuple[str, str]]] = {
            "expectations": lambda rng: ((t := damage_toml(shipped, rng)), try_expectations(t, Path(folder), adapters)),
            "cases": lambda rng: ((t := damage_id(rng.choice(ids), rng)), try_case(t, runner)),
        }
        for i in range(given.count):
            started = time.monotonic()
            text, message = tried[given.what](random.Random(f"{given.seed} {i}"))
            seconds = time.monotonic() - started
            assert "\n" not in message, message
            assert len(message) < 2000, message
            said["refused" if message else "taken"] += 1
            if seconds > slowest:
                slowest, slow = seconds, text
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cost = f"the slowest took {slowest:.2f} s; at most {most:.2f} GiB of memory"
    print(f"{given.count:,} {given.what}: {dict(said)}; {cost}")
    print(f"the slowest: {slow[:120]!r}")


if __name__ == "__main__":
    main()
