"""What is done with the blocks of pages that carry no mark: each check takes the text and an empty folder."""

import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

import kterm
from kterm.adapters.numpy_adapter import Numpy
from kterm.adapters.registry import load
from kterm.adapters.traces.manifest import Manifest
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.checks.verdict import CHECKS as CHECK_NAMES
from kterm.conformance.checks.verdict import RUN_CHECKS
from kterm.conformance.evaluation.certificate.form import CertificateLevel
from kterm.conformance.expectations.expectation import SHIPPED, read
from kterm.conformance.records.form.lines import CaseLine, Footer, GroupLine, Header, VerdictLine

from ...support.frameworks.biased import ScaledWeights
from ...support.here import kterm_here
from .. import ROOT

_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?")
_DIGITS = re.compile(r"-?\d+\.\d+(e[+-]\d+)?|-?\d+e[+-]?\d+")
SMALL = ("--profile", "smoke", "--dtype", "f32", "--activation", "relu", "--activation", "tanh", "-n", "0")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the comment above it, its language and its text."""

    page: str
    mark: str
    kind: str
    text: str

    @property
    def first(self) -> str:
        """Its first line that is no import and no bracket, which names it among the blocks of a page."""
        lines = [line.strip() for line in self.text.splitlines()]
        return next((one for one in lines if one.strip("{}[] ") and not one.startswith(("import ", "from "))), "")

    @property
    def key(self) -> tuple[str, str]:
        """What CHECKS lists it under: the name of its page, and the beginning of its first line."""
        return Path(self.page).stem, self.first[:30]


def _run(text: str, **names: Any) -> dict[str, Any]:
    """Run Python code with these names, and return all that it leaves."""
    given: dict[str, Any] = {"__name__": "docs", **names}
    exec(compile(text, "<docs>", "exec"), given)
    return given


def _shape(text: str) -> list[str]:
    """The lines of a text without the digits that another machine may give, and without the padding of a table."""
    return [" ".join(_NUMBER.sub("N", line).split()) for line in text.splitlines()]


def _rounded(text: str) -> list[str]:
    """The lines of a text with two digits of each number that is no integer, and without the padding of a table."""
    short = _DIGITS.sub(lambda found: f"{float(found[0]):.1e}", text)
    return [" ".join(line.split()) for line in short.splitlines()]


def _whole(number: str) -> int:
    return int(number.replace(",", ""))


def _standard_run(text: str, folder: Path) -> None:
    """The run takes minutes, and `.ci/run` does it. Its figures are those of the plan, add up, and fit each other."""
    cases: list[int] = []
    for name in ("torch", "jax"):
        pytest.importorskip(name)
        groups = plan(describe(load(name, None), name), make_options("standard", 0)).groups
        cases.append(sum(len(group.draws) for group in groups))
    assert [_whole(one) for one in re.findall(r"^PASS .*: ([\d,]+) cases", text, re.M)] == cases
    numbers = [_whole(one) for one in re.findall(r"[\d,]+", re.findall(r"^planned .*$", text, re.M)[0])]
    assert numbers[0] == sum(numbers[1:]) == sum(cases)
    undecided = [_whole(one) for one in re.findall(r"([\d,]+) undecided", text)]
    assert numbers[-1] == sum(undecided)
    rows = [re.split(r"  +", line) for line in text.splitlines() if line.split("  ")[0] in (*CHECK_NAMES, *RUN_CHECKS)]
    assert [row[0] for row in rows] == [*CHECK_NAMES, *RUN_CHECKS]
    for row in rows:
        assert all(sum(map(_whole, re.findall(r"\d[\d,]*\b", cell))) <= max(cases) for cell in row[1:])
    entries = {(one.reason, one.issue, one.framework) for one in read(SHIPPED)}
    shown = re.findall(r"^expected in ([\d,]+) cases? of (\w+): (.*) \((\S+)\)$", text, re.M)
    assert len(shown) >= 5
    assert {(reason, issue, framework) for _, framework, reason, issue in shown} <= entries
    # A case may have several.
    assert sum(_whole(count) for count, *_ in shown) >= numbers[3]


def _certified(text: str, folder: Path) -> None:
    """The run takes minutes. Its cases, its dtypes and what is not declared are those of the plan."""
    found = re.match(r"(\w+) \S+: (.+) · ([\d,]+) cases$", text.splitlines()[0])
    assert found is not None
    pytest.importorskip(found[1])
    planned = plan(describe(load(found[1], None), found[1]), make_options("standard", 0))
    assert _whole(found[3]) == sum(len(group.draws) for group in planned.groups)
    words, levels = re.split(r" · | ", found[2]), get_args(CertificateLevel)
    assert words[0] in levels
    assert sorted(one for one in words if one not in levels) == sorted(describe(load(found[1], None), found[1]).dtypes)
    left = re.findall(r"^  does not declare: (.+)$", text, re.M)
    assert left == ([", ".join(planned.unsupported)] if planned.unsupported else [])


def _ulp(text: str, folder: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("mpmath")
    done = kterm_here("ulp", "torch", "--dtype", "f64", "--activation", "hard_sigmoid", "-n", "0", folder=folder)
    assert done.returncode == 1
    assert _rounded(text) == _rounded(done.stdout)


_GRADIENTS = """
import kterm
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import backpropagate


class MyFramework(Numpy):
    name = "my-framework"
    dtypes = ("f64", "f32")
    activations = dict.fromkeys(("tanh", "sin", "leaky_relu"))

    def build(self, structure):
        def program(parameters, x, y):
            done = backpropagate(structure.network, parameters, x, y)
            return kterm.Observation(done.outputs, done.error, done.weight_gradients, done.bias_gradients)

        return program
"""
"""An adapter that declares what README's adapter declares, and shows what that shows."""


def _minimal_table(text: str, folder: Path) -> None:
    """The table is one of counts, and they follow from what the adapter declares and shows."""
    (folder / "my.py").write_text(_GRADIENTS, encoding="utf-8")
    done = kterm_here("check", "my.py:MyFramework", "--profile", "smoke", "-n", "0", folder=folder)
    assert done.returncode == 0, done.stdout
    assert [row for row in _lines(done.stdout) if row[:1] and row[0] in (*CHECK_NAMES, "check")] == _lines(text)


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def _refused(text: str, folder: Path) -> None:
    source = "import kterm\nfrom kterm.adapters.numpy_adapter import Numpy\n\n\nclass My(Numpy):\n"
    (folder / "my.py").write_text(source + '    name = "my-framework"\n    dtypes = "f32"\n', encoding="utf-8")
    done = kterm_here("check", "my.py:My", *SMALL, folder=folder)
    assert done.returncode == 3
    assert done.stderr == text


def _entry_point(text: str, folder: Path) -> None:
    (group,) = tomllib.loads(text)["project"]["entry-points"].items()
    assert group[0] == "kterm.adapters"
    ((name, value),) = group[1].items()
    point = EntryPoint(name, value, group[0])
    assert (point.module, point.attr) == ("my_port.kterm_adapter", "MyPort")


def _declared_arithmetic(text: str, folder: Path) -> None:
    declared = _run(text)["MyFramework"]

    class Whole(declared, Numpy):
        name = "my-framework"
        dtypes = ("f32", "bf16")

        def devices(self) -> tuple[str, ...]:
            return ("cpu", "accelerator")

    assert Whole().arithmetic == {}
    assert {*dict(describe(Whole(device="accelerator"), "my-framework").arithmetic)} == {"f32", "bf16"}


def _biased_run(text: str, folder: Path) -> None:
    results = kterm.check_adapter(ScaledWeights(), profile="quick", dtypes=["f32"], regimes=["normal"])
    assert _shape(text) == _shape(str(results))[: len(text.splitlines())]


def _comparison(text: str, folder: Path) -> None:
    """The two versions of JAX are not here. The form of what is printed is that of a comparison that is made here."""
    for name, extra in (("old", ()), ("new", ("--mutant", "no-slope-hidden"))):
        kterm_here("check", "numpy", *SMALL, *extra, "-o", f"{name}.jsonl", folder=folder)
    same = kterm_here("compare", "old.jsonl", "old.jsonl", folder=folder).stdout
    assert text.splitlines()[0] == same.splitlines()[0]
    printed = kterm_here("compare", "old.jsonl", "new.jsonl", "--verbose", folder=folder).stdout
    for title in re.findall(r"\n\n([a-z ]+)\n", text):
        assert re.search(rf"^{title}$", printed, re.M), title
    for header in ("adapter same cases in both failing", "adapter activation dtype regime check cases"):
        words = header.split()
        for said in (text, printed):
            assert any(line.split()[: len(words)] == words for line in said.splitlines()), header


def _expectations(text: str, folder: Path) -> None:
    (folder / "expectations.toml").write_text(re.sub(r'= "\.\.\."', '= "because"', text), encoding="utf-8")
    assert read(folder / "expectations.toml")


def _expression(text: str, folder: Path) -> None:
    whole = '[[expectation]]\nframework = "thinc"\nactivation = "silu"\nreason = "because"\nissue = "https://..."\n'
    (folder / "expectations.toml").write_text(whole + text, encoding="utf-8")
    (entry,) = read(folder / "expectations.toml")
    assert entry.formula == "value-as-written"


def _capture(text: str, folder: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    names = {
        "model": model,
        "batches": [(torch.randn(5, 4), torch.randn(5, 2)) for _ in range(2)],
        "loss_of": torch.nn.functional.mse_loss,
        "optimizer": torch.optim.SGD(model.parameters(), 0.1),
    }
    _run(text, **names)
    trace = kterm.read_trace(folder / "trace")
    assert len(trace.steps) == 2
    kterm.judge(trace).raise_if_failed()


def _keras(text: str, folder: Path) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(5, 4)).astype("f4"), rng.normal(size=(5, 2)).astype("f4")) for _ in range(2)]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(2)])
    trace = _run(text, kterm=kterm, model=model, batches=batches)["trace"]
    assert len(trace.steps) == 2
    judgement = kterm.judge(trace)
    judgement.raise_if_failed()
    assert {(one.layer.partition("/")[0], one.verdict.quantity) for one in judgement.verdicts} >= {
        (model.name, name) for name in ("z", "a", "dL/dW", "dL/db")
    }


def _mutants(text: str, folder: Path) -> None:
    names = ("--mutant", "no-slope-last", "--mutant", "slope-at-kink")
    done = kterm_here("mutants", *names, "--dtype", "f64", "-n", "0", folder=folder)
    printed = re.sub(r"(?<=\d)e\d+", "eN", re.sub(r"\d(?=e\d)", "N", done.stdout))
    shown = re.sub(r"(?<=\d)e\d+", "eN", re.sub(r"\d(?=e\d)", "N", text))
    assert _lines(shown) == [line for line in _lines(printed) if line][1:5]


def _as(form: Any) -> Callable[[str, Path], None]:
    """A check that a text is JSON of this type: one object, or one in each line."""

    def check(text: str, folder: Path) -> None:
        whole = [text] if text.count("\n") == 1 or text.startswith(("{\n", '{"kind": ')) else text.splitlines()
        for one in whole:
            assert msgspec.json.decode(one, type=form) is not None

    return check


_ANY_LINE = _as(Header | GroupLine | CaseLine | VerdictLine | Footer)


def _audit(text: str, folder: Path) -> None:
    kept = msgspec.json.decode(text)
    (field,) = (one for one in msgspec.structs.fields(Footer) if one.name == "expectations")
    msgspec.convert([kept], field.type)
    assert {*kept} == {"id", "cases", "findings", "state"}


def _reading(text: str, folder: Path) -> None:
    kterm_here("check", "numpy", *SMALL, "-o", "run.jsonl", folder=folder)
    assert _run(text)["record"].conforms


def _calls(text: str, folder: Path) -> None:
    made: list[int] = []
    given = _run(text, run=lambda x: made.append(x) or len(made), inputs_1={"x": 1})
    assert made == [1] * 300
    assert given["observed"] == 300


def _calls_shrunk(text: str, folder: Path) -> None:
    # Each trial is a new process, which imports the adapter from this file.
    source = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests.support.frameworks import stateful\n"
    (folder / "off.py").write_text(f"{source}class One(stateful.OneIn300): ...\n", encoding="utf-8")
    done = kterm_here("shrink", "4x8x3-silu.tanh-b5-pre-f64-soak-s0", "off.py:One", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "\n".join(_rounded(text)) in "\n".join(_rounded(done.stdout))


_SHAPES = {"W": (2, 3), "b": (2,), "x": (4, 3), "z": (4, 2), "k": (4, 2), "gx": (4, 3), "gW": (2, 3), "gb": (2,)}
"""What docs/trace.md says that the file has."""


def _least_trace(text: str, folder: Path) -> None:
    manifest = msgspec.json.decode(text, type=Manifest)
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=_SHAPES[name]) for name in ("W", "b", "x", "k")}
    weight, x, k = arrays["W"], arrays["x"], arrays["k"]
    arrays |= {"z": x @ weight.T + arrays["b"], "gx": k @ weight, "gW": k.T @ x, "gb": k.sum(0)}
    assert {name: array.shape for name, array in arrays.items()} == _SHAPES
    trace = kterm.Trace(manifest, (arrays,))
    kterm.judge(trace).raise_if_failed()
    wrong = kterm.judge(kterm.Trace(manifest, ({**arrays, "gW": arrays["gW"] * 2},)))
    assert [one.verdict.quantity for one in wrong.findings] == ["dL/dW"]


def _built_trace(text: str, folder: Path) -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(3, 2)), rng.normal(size=(4, 3))
    _run(text, W=weight, x=x, z=x @ weight)
    kterm.judge(kterm.read_trace(folder / "trace")).raise_if_failed()


CHECKS: dict[tuple[str, str], Callable[[str, Path], None]] = {
    ("README", "kterm 0.1.0: torch 2.13.0+cpu,"): _standard_run,
    ("accuracy", "torch 2.13.0+cpu on cpu; seed "): _ulp,
    ("adapters", "check             my-framework"): _minimal_table,
    ("adapters", "kterm: adapter my-framework: d"): _refused,
    ("adapters", '[project.entry-points."kterm.a'): _entry_point,
    ("arithmetic", "class MyFramework(Adapter):"): _declared_arithmetic,
    ("certificate", "numpy 2.4.6: strict · f64 f32 "): _certified,
    ("checks", "scaled-weights: bias in f32, d"): _biased_run,
    ("compare", "NO REGRESSION: the new run con"): _comparison,
    ("expectations", "[[expectation]]"): _expectations,
    ("expectations", 'formula = "value-as-written"'): _expression,
    ("judge-your-model", 'with kterm.capture(model, "tra'): _capture,
    ("judge-your-model", 'model.compile(optimizer="adam"'): _keras,
    ("levels", "torch 2.13.0+cpu: strict f32 f"): _certified,
    ("mutants", "numpy, f64: by how many tolera"): _mutants,
    ("record", '{"kind": "header", "schema": 6'): _as(Header),
    ("record", '{"kind":"group","adapter":"tor'): _ANY_LINE,
    ("record", '{"kind":"verdict","adapter":"t'): _ANY_LINE,
    ("record", '{"kind": "verdict", "adapter":'): _as(VerdictLine),
    ("record", '{"kind": "footer",'): _as(Footer),
    ("record", '{"id": "2", "cases": 178, "fin'): _audit,
    ("record", 'record = read(Path("run.jsonl"'): _reading,
    ("reproducers", "for _ in range(299):"): _calls,
    ("shrinking", "the fewest and smallest calls "): _calls_shrunk,
    ("trace", '"format": "kterm-trace",'): _least_trace,
    ("trace", 'builder = kterm.TraceBuilder("'): _built_trace,
}
"""By the page and the beginning of the block."""
