"""The suite's Python host: a process that holds one adapter and answers the protocol's requests.

    python -P -m kterm.conformance.runners.link.host SPEC MUTANT

Requests arrive on standard input, and replies go to what was standard output. The framework's own output goes to
standard error. End of input ends the process, and so does the end of the process that started it.
"""

import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

_UNSUPPORTED, _RAISED, _NOT_LOADED = -32001, -32002, -32003
_NO_METHOD, _BAD_PARAMS = -32601, -32602
_PARENT_POLL = 1.0  # seconds


def main(spec: str, mutant: str) -> None:
    """Serve the adapter, with a mutant planted if one is named, until the input ends."""
    requests, replies = os.fdopen(os.dup(0), "rb", 2**18), os.fdopen(os.dup(1), "wb", 0)
    # From here on, the framework's own input and output cannot disturb the messages.
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    sys.stdout = sys.stderr
    # The process that asks ends this one. An interrupt from the terminal must not look like a crash.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    answer = _Host(spec, mutant).answer
    while line := requests.readline():
        _write(replies, answer(line))
    os._exit(0)  # a framework's threads must not keep an orphan alive


class _Host:
    """Answers requests, one after another."""

    def __init__(self, spec: str, mutant: str) -> None:
        # Imported after standard output is closed to them.
        from ....adapters.registry import describe_error
        from ..programs import NoAnswer, Programs
        from . import wire

        self._spec, self._mutant = spec, mutant
        self._wire, self._no_answer, self._make, self._describe_error = wire, NoAnswer, Programs, describe_error
        self._programs: Any = None
        self._methods: dict[str, Callable[[Any], bytes]] = {
            "build": self._build,
            "backprop": self._backprop,
            "release": self._release,
            "reread": self._reread,
            "script": self._script,
        }

    def answer(self, line: bytes) -> bytes:
        """The reply to a request, as a line."""
        number: Any = None
        try:
            request = json.loads(line)
            number, method, params = request["id"], request["method"], request["params"]
            if method == "shutdown":
                os._exit(0)
            if method == "initialize":
                return self._initialize(number, params)
            if self._programs is None or method not in self._methods:
                return self._wire.write_error(number, _NO_METHOD, f"there is no method {method} now")
            return self._wire.write_reply(number, self._methods[method](params))
        except self._no_answer as no:
            return self._wire.write_error(number, _UNSUPPORTED if no.kind == "unsupported" else _RAISED, no.message)
        except BaseException as error:  # an interrupt that the framework raised, among others
            return self._wire.write_error(number, _RAISED, self._describe_error(error))

    def _initialize(self, number: Any, params: Any) -> bytes:
        from ....adapters.registry import AdapterError, load

        try:
            adapter = load(self._spec, params["device"])
            if self._mutant:
                from ...mutants.loading import planted

                adapter = planted(adapter, self._mutant)
            declared = self._wire.to_json(self._wire.declare(adapter))
        except (AdapterError, ValueError) as error:
            return self._wire.write_error(number, _NOT_LOADED, str(error))
        except BaseException as error:
            message = f"adapter {self._spec}: {self._describe_error(error)}"
            return self._wire.write_error(number, _NOT_LOADED, message)
        self._programs = self._make(adapter)
        # A framework's modules are hundreds of thousands of objects that stay. Searching them for garbage again and
        # again takes a tenth of the time in which JAX traces and calls its programs.
        gc.freeze()
        gc.set_threshold(50_000)
        return self._wire.write_reply(number, declared)

    def _build(self, params: Any) -> bytes:
        structure = self._wire.read_structure(params["structure"])
        return b'{"program":%d}' % self._programs.build(structure, params.get("layout"))

    def _backprop(self, params: Any) -> bytes:
        numbers = self._wire.read_call(params)
        observed, is_modified = self._programs.call(params["program"], params.get("memory"), *numbers)
        return self._wire.write_observation(observed, is_modified)

    def _release(self, params: Any) -> bytes:
        self._programs.release(params["program"])
        return b"{}"

    def _reread(self, params: Any) -> bytes:
        return self._wire.write_observation(self._programs.first(params["program"]), False)

    def _script(self, params: Any) -> bytes:
        script = self._programs.script(self._wire.read_structure(params["structure"]))
        names = ("framework", "requires", "preamble", "setup", "calls")
        parts = {name: getattr(script, name) for name in names}
        return self._wire.to_json({**parts, "shown": dict(script.shown)})


def _write(replies: BinaryIO, line: bytes) -> None:
    view, sent = memoryview(line), 0
    while sent < len(view):
        sent += replies.write(view[sent:])


def _end_with_parent(parent: int) -> None:
    """End this process when another is its parent: the one that asked was killed, and asks no more."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:3])
