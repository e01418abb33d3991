"""The client side of an adapter's host process: starts it, talks to it, and survives its end."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from typing import IO, Any

from ...adapters import Script
from ...adapters.registry import AdapterError
from ...reference import Array, Parameters, Structure
from ..cases.description import Description
from ..mutants.loading import mutant as mutant_of
from .cache import with_cache
from .host import receive, send
from .runner import Answer, NoAnswer, Turn
from .threads import pin

TIMEOUT = 120.0
"""Seconds after which a request counts as hung; loading is never given less. Not a deadline on anything that works."""


class ProcessRunner:
    """Runs an adapter in a host process, with the methods of `LocalRunner`.

    If the host dies or hangs, the call raises NoAnswer and the next build starts another host. `mutant` names a mutant
    to plant in the adapter. Raises AdapterError, in one line, if the adapter does not load, and OptionError for an
    unknown mutant.
    """

    def __init__(
        self, spec: str, device: str | None = None, timeout: float = TIMEOUT, mutant: str | None = None
    ) -> None:
        if mutant is not None:
            mutant_of(mutant)
        self._spec, self._device, self._timeout, self._mutant = spec, device or "", timeout, mutant or ""
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes]
        self._start()
        # Asked once: what it declares stays known when its process is gone.
        self._description: Description = self._ask("describe")

    def describe(self) -> Description:
        """What the adapter declares."""
        return self._description

    def build(self, structure: Structure, layout: str | None = None, beside: bool = False) -> None:
        """As `LocalRunner.build`. Starts a host if there is none; programs of an earlier host are lost."""
        if self._process is None:
            try:
                self._start()
            except AdapterError as error:
                raise NoAnswer("died", f"and did not start again: {error}") from None
        self._ask("build", structure, layout, beside)

    def recall(self, number: int) -> None:
        """As `LocalRunner.recall`."""
        self._ask("recall", number)

    def call(self, regime: str, parameters: Parameters, x: Array, y: Array) -> Answer:
        """As `LocalRunner.call`."""
        return self._ask("call", regime, parameters, x, y)

    def script(self, structure: Structure) -> Script:
        """As `LocalRunner.script`."""
        return self._ask("script", structure)

    def changed_since(self) -> bool:
        """As `LocalRunner.changed_since`."""
        return self._ask("changed_since")

    def call_in_turn(self, regime: str, turn: Turn, count: int) -> tuple[int, Answer] | None:
        """As `LocalRunner.call_in_turn`."""
        return self._ask("call_in_turn", regime, turn, count)

    def close(self) -> None:
        """End the host."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._errors.close()
            self._process = None

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the host)
        # -P keeps the current directory from the head of the host's path, where its files would hide modules that kterm
        # or a framework imports. What the adapter itself starts is left as Python has it.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kterm.conformance.runners.host", self._spec, self._device, self._mutant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=with_cache(pin(environment)),
            bufsize=0,
        )
        try:
            # Importing a framework may take longer than any answer should.
            self._reply(max(self._timeout, TIMEOUT))
        except NoAnswer as no:
            self.close()
            message = (
                no.message if no.kind == "load" else f"adapter {self._spec} did not load: it {no.kind}; {no.message}"
            )
            raise AdapterError(message) from None

    def _ask(self, method: str, *arguments: Any) -> Any:
        if self._process is None or self._process.stdin is None:
            raise NoAnswer("died", "the adapter's process is gone")
        try:
            send(self._process.stdin, (method, arguments))  # pyright: ignore[reportArgumentType]  (an unbuffered pipe)
        except BrokenPipeError:
            raise self._death() from None
        return self._reply(self._timeout)

    def _reply(self, timeout: float) -> Any:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], timeout)[0]:
            self.close()
            raise NoAnswer("hung", f"no answer within {timeout:g} s")
        try:
            reply = receive(process.stdout)  # pyright: ignore[reportArgumentType]  (an unbuffered pipe)
        except EOFError:
            raise self._death() from None
        if reply[0] == "ok":
            return reply[1]
        raise NoAnswer(*reply[1:]) if reply[0] == "no" else NoAnswer("load", reply[1])

    def _death(self) -> NoAnswer:
        process = self._process
        assert process is not None
        end = time.monotonic() + 5
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        code = process.poll()
        how = f"exited with code {code}"
        if code is None:
            how = "closed its pipe"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        self._errors.seek(0)
        said = deque(self._errors.read().decode(errors="replace").strip().splitlines(), maxlen=1)
        self.close()
        return NoAnswer("died", f"the adapter's process {how}" + (f" ({said[0][:200]})" if said else ""))
