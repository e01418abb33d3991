"""An adapter in a process of its own: starts it, asks it through the link, and survives its end."""

import os
import shlex
import sys
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace as with_fields

from ...adapters import IN_OUT, Adapter, Script, WeightLayout
from ...adapters.registry import COMMAND, AdapterError, resolve
from ...reference import Array, Parameters, Structure
from ..cases.description import Description
from ..cases.draw import memory_of
from ..cases.plan import OptionError
from ..mutants.loading import loaded
from ..mutants.loading import mutant as mutant_of
from .cache import with_cache
from .environments import find_interpreter
from .form import Answer, Foreign, examine_form
from .link.client import Client, NotLoadedError
from .link.declared import CONVERTS, MEMORY, REREAD, SCRIPT, describe_declared
from .link.messages import Backprop, Build, Built, Declaration, Nothing, Observed, ProgramNumber, ScriptMessage
from .link.tensors import MalformedError, most_bytes, observation_of, structure_message, tensor_of
from .link.text import clean_line, clean_source
from .programs import as_no_answer
from .runner import LAYOUTS, LocalRunner, NoAnswer, Turn, call_in_turn
from .threads import pin

TIMEOUT = 120.0
"""Seconds after which a request counts as hung. Not a deadline on anything that works."""

LOADING = 20.0
"""Seconds that loading an adapter is given at least: importing a framework may take longer than any answer should."""

_HOST = "kterm.conformance.runners.link.host"
# Not resolved: in a checkout, the package consists of links.
_PACKAGE = Path(__file__).absolute().parents[2]
_BOOT = _PACKAGE / "conformance" / "runners" / "link" / "boot.py"
_SOURCE = 2**24  # bytes of a script

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Program:
    """A program in the process, by its number there, with what it answered first."""

    number: int
    structure: Structure
    layout: str
    first: list[Observed]


class ProcessRunner:
    """Runs an adapter in a process of its own, with the methods of `LocalRunner`.

    `spec` names an adapter in Python, which the suite's host holds, or a program as `command:PROGRAM ARGUMENTS`. If the
    process dies, hangs or breaks the protocol, the call raises NoAnswer and the next build starts another; one that
    does not start again is not tried a second time. `mutant` names a mutant to plant in the adapter, and `python` the
    interpreter that the host runs under: that of the adapter's environment by default, if there is one.

    Raises AdapterError, in one line, if the adapter does not load, and OptionError for an unknown mutant.
    """

    def __init__(
        self,
        spec: str,
        device: str | None = None,
        timeout: float = TIMEOUT,
        mutant: str | None = None,
        python: str | None = None,
    ) -> None:
        if mutant is not None:
            mutant_of(mutant)
            if spec.startswith(COMMAND):
                raise OptionError(f"mutant {mutant}: {spec} is a program, only adapters in Python take mutants")
        self._spec, self._device, self._timeout, self._mutant = spec, device, timeout, mutant
        is_program = spec.startswith(COMMAND)
        own = None if is_program or python else find_interpreter(spec)
        self._python = None if is_program else python or (own and str(own))
        self._named_python = None if is_program else python
        self._client: Client | None = None
        self._declared: Declaration
        self._adapter: Adapter
        self._programs: list[_Program] = []
        self._current: _Program | None = None
        self._failure = ""
        self._start()
        # Asked once: what it declares stays known when its process is gone.
        self._description = self._describe()

    def describe(self) -> Description:
        """What the adapter declares."""
        return self._description

    @property
    def interpreter(self) -> str:
        """The Python interpreter that the adapter's framework is imported by."""
        return self._python or sys.executable

    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None:
        """As `LocalRunner.build`. Starts a process if there is none; programs of an earlier one are lost. The process
        is not asked for what the adapter does not declare.
        """
        with as_no_answer():
            self._adapter.require(structure)
        if self._client is None:
            self._start_again()
        self._current = None
        if not beside:
            while self._programs:
                self._ask("release", ProgramNumber(self._programs.pop().number), Nothing)
        own = self._description.layout
        sent = layout if self._has(CONVERTS) else None
        built = self._ask("build", Build(structure_message(structure), sent), Built)
        self._current = _Program(built.program, structure, layout or own, [])
        self._programs.append(self._current)

    def recall(self, number: int) -> None:
        """As `LocalRunner.recall`."""
        if self._client is None:
            raise NoAnswer("died", "the adapter's process is gone")
        self._current = self._programs[number]

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """As `LocalRunner.call`."""
        if self._client is None or self._current is None:
            raise NoAnswer("died", "the adapter's process is gone")
        program, converts = self._current, self._has(CONVERTS)
        layout = IN_OUT if converts else LAYOUTS[program.layout]
        request = Backprop(
            program.number,
            tuple(tensor_of(layout.to_native(weight)) for weight in parameters.weights),
            tuple(map(tensor_of, parameters.biases)),
            tensor_of(x),
            tensor_of(y),
            memory_of(regime) if self._has(MEMORY) else None,
        )
        observed = self._ask("backprop", request, Observed, most_bytes(program.structure))
        if not program.first:
            program.first.append(observed)
        return self._read(observed, program, layout)

    def script(self, structure: Structure) -> Script:
        """As `LocalRunner.script`."""
        if not self._has(SCRIPT):
            raise NoAnswer("unsupported", f"{self._description.name} has no script; it is a program")
        if self._client is None:  # it was closed behind an earlier call, or died in it
            self._start_again()
        found = self._ask("script", Build(structure_message(structure)), ScriptMessage, _SOURCE)
        shown = {clean_line(name): clean_source(source) for name, source in found.shown.items()}
        preamble, setup, calls = map(clean_source, (found.preamble, found.setup, found.calls))
        return Script(clean_line(found.framework), clean_line(found.requires), preamble, setup, calls, shown)

    def changed_since(self) -> bool:
        """As `LocalRunner.changed_since`."""
        program = self._current
        if self._client is None:
            raise NoAnswer("died", "the adapter's process is gone")
        if program is None or not program.first or not self._has(REREAD):
            return False  # what a program wrote down as text stays as it is
        now = self._ask("reread", ProgramNumber(program.number), Observed, most_bytes(program.structure))
        return with_fields(now, modified=program.first[0].modified) != program.first[0]

    def call_in_turn(self, regime: str, turn: Turn, count: int) -> tuple[int, Answer] | None:
        """As `LocalRunner.call_in_turn`. The answers are compared here, and not by the process that gave them."""
        return call_in_turn(self.call, regime, turn, count)

    def close(self) -> None:
        """End the process."""
        if self._client is not None:
            self._client.close()
        self._forget()

    def _has(self, name: str) -> bool:
        return name in self._declared.optional

    def _forget(self) -> None:
        self._client, self._current, self._programs = None, None, []

    def _ask(self, method: str, params: Struct, kind: type[Result], limit: int = 0) -> Result:
        if self._client is None:
            raise NoAnswer("died", "the adapter's process is gone")
        try:
            return self._client.ask(method, params, kind, self._timeout, limit)
        except NoAnswer as no:
            if no.lost:
                self._forget()
            raise

    def _read(self, observed: Observed, program: _Program, layout: WeightLayout) -> Answer:
        assert self._client is not None
        try:
            observation = observation_of(observed)
        except MalformedError as error:
            broken = self._client.broken(f"its answer to backprop: {error}")
            self._forget()
            raise broken from None
        gradients = (g if isinstance(g, Foreign) else layout.from_native(g) for g in observation.weight_gradients)
        own = replace(observation, weight_gradients=tuple(gradients))
        return examine_form(own, program.structure, observed.modified, dict(self._description.result_dtypes))

    def _start(self) -> None:
        command, environment = self._command(), pin(_environment())
        if self._python is None:
            environment = with_cache(environment)
        try:
            client = Client(command, environment)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise AdapterError(f"{self._spec}: {command[0]} cannot be started ({reason})") from None
        try:
            self._declared = client.initialize(self._device, max(self._timeout, LOADING))
        except NotLoadedError as error:
            client.close()
            raise AdapterError(_named(self._spec, str(error))) from None
        except NoAnswer as no:
            client.close()
            raise AdapterError(f"adapter {self._spec} did not load: it {no.kind}; {no.message}") from None
        self._client = client

    def _describe(self) -> Description:
        try:
            self._adapter, described = describe_declared(self._declared, self._spec, self._device, self._mutant)
            return replace(described, python=self._named_python)
        except NotLoadedError as error:
            self.close()
            raise AdapterError(_named(self._spec, str(error))) from None

    def _start_again(self) -> None:
        if not self._failure:
            try:
                self._start()
                if self._describe() == self._description:
                    return
                self.close()
                self._failure = "and declares other things since it started again"
            except AdapterError as error:
                self._failure = f"and did not start again: {error}"
        raise NoAnswer("died", self._failure)

    def _command(self) -> list[str]:
        if not self._spec.startswith(COMMAND):
            if self._python is None:
                # -P keeps the current directory from the head of the host's path, where its files would hide modules
                # that kterm or a framework imports.
                return [sys.executable, "-P", "-m", _HOST, self._spec, self._mutant or ""]
            return [self._python, "-P", str(_BOOT), str(_PACKAGE), resolve(self._spec), self._mutant or ""]
        try:
            command = shlex.split(self._spec.removeprefix(COMMAND))
        except ValueError as error:
            raise AdapterError(f"{self._spec}: {error}; write it as for a shell") from None
        if not command:
            raise AdapterError(f"{self._spec}: name the program, as in {COMMAND}path/to/adapter")
        return command


def open_runner(
    spec: str, device: str | None = None, mutant: str | None = None, python: str | None = None
) -> LocalRunner | ProcessRunner:
    """A runner of an adapter: in this process if it can be imported here, and else in a process of its own, which ends
    with this one. That is so for a program, and under another interpreter.

    Raises AdapterError if it does not load, and OptionError for an unknown mutant.
    """
    if not (spec.startswith(COMMAND) or python or find_interpreter(spec)):
        local = LocalRunner(loaded(spec, device, mutant), spec)
        try:
            local.describe()
        except ValueError as error:  # declarations that cannot be used
            raise AdapterError(clean_line(str(error))) from None
        return local
    runner = ProcessRunner(spec, device, mutant=mutant, python=python)
    # Unlike the functions of atexit, finalizers run at the end of worker processes too.
    Finalize(None, runner.close, exitpriority=0)
    return runner


def open_shared_runner(spec: str, device: str | None, python: str | None) -> LocalRunner | ProcessRunner:
    """As `open_runner`, but the same runner each time that this process asks for it. Raises AdapterError."""
    return _open_once(spec, device, python, str(Path.cwd()))


@cache
def _open_once(spec: str, device: str | None, python: str | None, _folder: str) -> LocalRunner | ProcessRunner:
    return open_runner(spec, device, python=python)


def _environment() -> dict[str, str]:
    # What the adapter itself starts is left as Python has it.
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


def _named(spec: str, message: str) -> str:
    """A message about an adapter that begins with its name, or else its spec."""
    return message if message.startswith((spec, "adapter ")) else f"adapter {spec}: {message}"
