"""The `kterm` command. Heavy imports wait until a command needs them, so that --help is quick and imports no framework.

Exit codes: 0 conforms, 1 does not, 2 usage or configuration error, 3 an adapter could not be loaded, 130 interrupted,
143 terminated.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .exit_codes import DOES_NOT, INTERRUPTED, NOT_LOADED, USAGE
from .facts import cli as facts
from .facts import environments
from .models import cli as models
from .models.cli import AdapterOrLayer, CaseOrTrace, OneQuantity, OneStep
from .port import cli as port
from .runs import cli as runs
from .runs.options import (
    NAMED,
    Activations,
    Adapters,
    CaseId,
    Device,
    Dtypes,
    Expectations,
    GitHub,
    JUnit,
    LevelName,
    NoCache,
    OneAdapter,
    PlantedMutant,
    Profile,
    Python,
    Regimes,
    Seed,
    Summary,
    Timeout,
    Workers,
)
from .runs.views.detail import Quiet, Verbose, announce_loading, choose_detail

app = typer.Typer(
    name="kterm",
    help="Check a framework's backward pass against the k-term rule, with derived tolerances.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(environments.app, name="env")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"kterm {version('kterm')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the command as a whole."""


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn the suite's own errors, and an interrupt, into one line on standard error and the exit code that is due."""
    from ...adapters.registry import AdapterError
    from ...adapters.traces.errors import TraceError
    from ..cases.case import CaseError
    from ..cases.plan import OptionError
    from ..expectations.expectation import ExpectationError
    from ..records.record import RecordError
    from ..runners.runner import NoAnswer

    try:
        yield
    except AdapterError as error:
        _stop(str(error), NOT_LOADED)
    except (CaseError, OptionError, ExpectationError, RecordError, TraceError) as error:
        _stop(str(error), USAGE)
    except NoAnswer as no:
        _stop(f"the adapter {no.kind}: {no.message}", DOES_NOT)
    except KeyboardInterrupt:
        _stop("interrupted", INTERRUPTED)


def _stop(message: str, code: int) -> None:
    from ..records.form.text import print_aside

    print_aside(f"kterm: {message}")
    raise typer.Exit(code)


@app.command()
def check(
    adapters: Adapters = None,
    profile: Profile = "standard",
    seed: Seed = 0,
    workers: Workers = "auto",
    dtype: Dtypes = None,
    activation: Activations = None,
    regime: Regimes = None,
    like: Annotated[Path | None, typer.Option(help="Test the structures of the model in this trace.")] = None,
    level: LevelName = "componentwise",
    report: Annotated[
        Path | None,
        typer.Option("--report", "-o", "--output", help="Write the record here: .jsonl, .jsonl.gz or .jsonl.zst."),
    ] = None,
    expectations: Expectations = None,
    device: Device = None,
    timeout: Timeout = None,
    mutant: PlantedMutant = None,
    no_cache: NoCache = False,
    python: Python = None,
    arithmetic: Annotated[
        bool, typer.Option("--arithmetic", help="Measure how products are computed, also of adapters that pass.")
    ] = False,
    shard: Annotated[str | None, typer.Option(help="Run the I-th of N parts of the run, as I/N.")] = None,
    timings: Annotated[Path | None, typer.Option(help="Write the seconds of each group here, as JSON.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the interrupted run that was to write this record.")
    ] = None,
    summary: Summary = None,
    junit: JUnit = None,
    github: GitHub = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check adapters: without a name torch and jax, as far as they are installed."""
    if not quiet:
        announce_loading(adapters or (), "the installed frameworks" if resume is None else f"what {resume} needs")
    with _one_line_errors():
        from ..cases.plan import OptionError, make_options, parse_shard
        from ..records.run import RunRequest
        from ..runners.process import TIMEOUT
        from ..runners.workers import parse_workers
        from .check import run_check
        from .models.cases import read_structures
        from .runs.views.outputs import Outputs, collect_outputs

        if resume is not None and (adapters or report is not None):
            raise OptionError("--resume goes on with what the interrupted run was asked for; name its record alone")
        target = report if resume is None else resume
        structures = () if like is None else read_structures(like)
        request = RunRequest(
            adapters=tuple(adapters or ()),
            options=make_options(profile, seed, dtype or (), activation or (), level, regime or (), structures),
            expectations=expectations,
            device=device,
            timeout=TIMEOUT if timeout is None else timeout,
            mutant=mutant,
            workers=parse_workers(workers),
            report=None if target is None else target.absolute(),
            resumes=resume is not None,
            shard=None if shard is None else parse_shard(shard),
            uses_cache=not no_cache,
            measures_arithmetic=arithmetic,
            python=python,
        )
        with collect_outputs(Outputs(summary, junit, github)) as keep:
            code = run_check(request, choose_detail(quiet, verbose), keep, timings)
        raise typer.Exit(code)


@app.command()
def replay(
    case: CaseId,
    adapter: OneAdapter,
    device: Device = None,
    mutant: PlantedMutant = None,
    python: Python = None,
) -> None:
    """Print one case's whole pass beside the rule's, in units of tolerance, and the first step that departs."""
    with _one_line_errors():
        from .replay import run_replay

        raise typer.Exit(run_replay(case, adapter, device, mutant, python))


@app.command()
def reproduce(
    case: CaseOrTrace,
    adapter: AdapterOrLayer,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the script to this file; else it is printed.")
    ] = None,
    device: Device = None,
    mutant: PlantedMutant = None,
    python: Python = None,
    no_shrink: Annotated[bool, typer.Option("--no-shrink", help="Of the case as it is, not of a smaller one.")] = False,
    step: OneStep = None,
    quantity: OneQuantity = None,
) -> None:
    """Write a failing case, or a finding of a trace, as a small script without kterm, and run it."""
    with _one_line_errors():
        if models.is_trace(case):
            refused = {"--device": device, "--mutant": mutant, "--no-shrink": no_shrink or None}
            models.refuse(refused, "belongs to a case, and the first argument is the folder of a trace")
            from .models.reproduce import FindingOptions, run_reproduce_layer

            raise typer.Exit(run_reproduce_layer(Path(case), adapter, FindingOptions(output, step, quantity, python)))
        models.refuse({"--step": step, "--quantity": quantity}, "belongs to a trace, and the first argument is a case")
        from .reproduce import run_reproduce

        raise typer.Exit(run_reproduce(case, adapter, output, device, mutant, not no_shrink, python))


@app.command()
def shrink(
    case: CaseId,
    adapter: OneAdapter,
    device: Device = None,
    mutant: PlantedMutant = None,
    python: Python = None,
    builds: Annotated[int | None, typer.Option(min=2, help="Programs to build at most.")] = None,
    calls: Annotated[int | None, typer.Option(min=2, help="Calls to make at most.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds after which what is found so far is taken.")] = None,
) -> None:
    """Print the smallest case that fails in the same way as a failing one, with its numbers."""
    with _one_line_errors():
        from ..failures.shrinking.budget import Budget
        from .shrink import run_shrink

        given = {"builds": builds, "calls": calls, "seconds": seconds}
        budget = Budget(**{name: value for name, value in given.items() if value is not None})
        raise typer.Exit(run_shrink(case, adapter, device, mutant, budget, python))


@app.command()
def kinks(
    adapters: Adapters = None,
    record: Annotated[Path | None, typer.Option(help="Read the table from this record, and run nothing.")] = None,
    seed: Seed = 0,
    dtype: Dtypes = None,
    device: Device = None,
    python: Python = None,
) -> None:
    """Print which derivative each adapter chooses where the derivative jumps."""
    with _one_line_errors():
        from .facts.kinks import run_kinks

        raise typer.Exit(run_kinks(adapters or [], seed, dtype or [], device, record, python))


@app.command()
def arithmetic(
    adapters: Adapters = None,
    dtype: Dtypes = None,
    device: Device = None,
    python: Python = None,
    bitwise: Annotated[bool, typer.Option("--bitwise", help="Print where each gives the same bits, too.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the measurements here, as JSON.")] = None,
) -> None:
    """Print how each adapter computes its products: operands, accumulator, rounding, flushing, order of sums."""
    with _one_line_errors():
        from .facts.arithmetic import run_arithmetic

        raise typer.Exit(run_arithmetic(adapters or [], dtype or [], device, json, bitwise, python))


@app.command()
def ulp(
    adapters: Annotated[list[str], typer.Argument(help=NAMED)],
    dtype: Dtypes = None,
    activation: Activations = None,
    samples: Annotated[int, typer.Option(help="f32 and f64: 2**SAMPLES numbers a binade, 2**7 as many near 1.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of those numbers.")] = 0,
    workers: Workers = "auto",
    device: Device = None,
    python: Python = None,
    json: Annotated[Path | None, typer.Option(help="Write the measurements here, as JSON Lines.")] = None,
) -> None:
    """Measure each activation's f and f' against 50-digit values, in units of the last place."""
    with _one_line_errors():
        try:
            from .facts.ulp import UlpOptions, run_ulp
        except ModuleNotFoundError as error:
            if error.name != "mpmath":
                raise
            _stop("mpmath is not installed; pip install 'kterm[ulp]'", USAGE)
        else:
            options = UlpOptions(
                tuple(adapters), tuple(dtype or ()), tuple(activation or ()), samples, seed, workers,
                device, json, python,
            )  # fmt: skip
            raise typer.Exit(run_ulp(options))


@app.command()
def calibrate(
    adapters: Adapters = None,
    draws: Annotated[int, typer.Option(help="Cases for each adapter.")] = 20_000,
    networks: Annotated[int, typer.Option(help="Networks for each activation and dtype to plant mistakes in.")] = 8,
    seed: Seed = 0,
    workers: Workers = "auto",
    dtype: Annotated[list[str] | None, typer.Option(help="Keep to this dtype; repeatable. Else f32 and f64.")] = None,
    activation: Activations = None,
    expectations: Expectations = None,
    device: Device = None,
    python: Python = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures here, as JSON.")] = None,
    quiet: Quiet = False,
) -> None:
    """Measure how far right gradients depart from the rule, in standard deviations, and what mistakes are caught."""
    if not quiet:
        announce_loading(adapters or ())
    with _one_line_errors():
        from .facts.calibrate import CalibrateOptions, run_calibrate

        options = CalibrateOptions(
            tuple(adapters or ()), draws, networks, seed, workers, tuple(dtype or ()), tuple(activation or ()),
            expectations, device, json, python, choose_detail(quiet),
        )  # fmt: skip
        raise typer.Exit(run_calibrate(options))


@app.command()
def mutants(
    adapters: Annotated[
        list[str] | None,
        typer.Argument(
            help="Registered names, package.module:Class or path/to/file.py:Class, imported by this Python; without "
            "any, numpy. A program takes no mutants.",
            show_default=False,
        ),
    ] = None,
    profile: Profile = "quick",
    seed: Seed = 0,
    workers: Workers = "auto",
    dtype: Annotated[list[str] | None, typer.Option(help="Keep to this dtype; repeatable. Else f64 and f32.")] = None,
    mutant: Annotated[list[str] | None, typer.Option(help="Keep to this mutant; repeatable.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave this check out; repeatable.")] = None,
    gradients_alone: Annotated[bool, typer.Option("--gradients-alone", help="Hide z, x and k.")] = False,
    brief: Annotated[
        bool, typer.Option("--brief", help="Leave a regime once a mutant is found in it by ten tolerances.")
    ] = False,
    expectations: Expectations = None,
    device: Device = None,
    json: Annotated[Path | None, typer.Option(help="Write the matrix here, as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the tables here, as HTML.")] = None,
    names: Annotated[bool, typer.Option("--list", help="List the mutants, and run nothing.")] = False,
    smallest: Annotated[
        Path | None, typer.Option(help="Write the smallest set of cases that finds them here: the smoke profile.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Put known mistakes on adapters and show which regimes find them, by how much."""
    if not quiet and not names:
        announce_loading(adapters or ("numpy",))
    with _one_line_errors():
        from .mutants import MutantsOptions, print_list, run_mutants, run_smallest

        if smallest is not None:
            raise typer.Exit(run_smallest((adapters or ["numpy"])[0], workers, smallest))
        if names:
            print_list()
            return
        options = MutantsOptions(
            tuple(adapters or ()), profile, seed, workers, tuple(dtype or ()), tuple(mutant or ()),
            tuple(without or ()), gradients_alone, brief, expectations, device, json, html, choose_detail(quiet),
        )  # fmt: skip
        raise typer.Exit(run_mutants(options))


port.add_commands(app, _one_line_errors)
facts.add_commands(app, _one_line_errors)
runs.add_commands(app, _one_line_errors)
models.add_commands(app, _one_line_errors)


def main() -> None:
    """Run the command line. What the encoding of the output does not have is escaped, as in a pipe on Windows."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="kterm")


if __name__ == "__main__":
    main()
