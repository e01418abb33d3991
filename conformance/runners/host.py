"""The adapter host: a process that holds one adapter and answers requests, so that nothing it does can harm the run.

    python -m kterm.conformance.runners.host SPEC DEVICE MUTANT

Requests arrive on standard input, and replies go to what was standard output, each as a pickle after its length in 8
bytes. The framework's own output goes to standard error. End of input ends the process.

A request is (method of LocalRunner, arguments). A reply is ("ok", result) or ("no", kind, message). If the adapter does
not load, ("load", message) is sent once instead of ("ok", None).
"""

import gc
import os
import pickle
import signal
import struct
import sys
from typing import Any, BinaryIO

_LENGTH = struct.Struct("<Q")


def send(stream: BinaryIO, message: Any) -> None:
    """Write one message."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message. Raises EOFError when the other side is gone."""
    return pickle.loads(_exactly(stream, _LENGTH.unpack(_exactly(stream, _LENGTH.size))[0]))


def _exactly(stream: BinaryIO, count: int) -> bytes:
    parts = []
    while count:
        part = stream.read(count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def main(spec: str, device: str, mutant: str) -> None:
    """Load the adapter, plant a mutant if one is named, and serve until the input ends."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    # From here on, the framework's own input and output cannot disturb the messages.
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    sys.stdout = sys.stderr
    from ...adapters.registry import AdapterError, describe_error
    from ..mutants.loading import loaded
    from .runner import LocalRunner, NoAnswer

    try:
        runner = LocalRunner(loaded(spec, device or None, mutant or None), spec)
        runner.describe()
    except (AdapterError, ValueError) as error:
        send(replies, ("load", str(error)))
        return
    except BaseException as error:
        send(replies, ("load", f"adapter {spec}: {describe_error(error)}"))
        return
    # A framework's modules are hundreds of thousands of objects that stay. Searching them for garbage again and again
    # takes a tenth of the time in which JAX traces and calls its programs.
    gc.freeze()
    gc.set_threshold(50_000)
    # The process that asks ends this one. An interrupt from the terminal reaches both, and must not look like a crash.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    send(replies, ("ok", None))
    while True:
        try:
            method, arguments = receive(requests)
        except EOFError:
            os._exit(0)  # a framework's threads must not keep an orphan alive
        try:
            reply = ("ok", getattr(runner, method)(*arguments))
        except NoAnswer as no:
            reply = ("no", no.kind, no.message)
        send(replies, reply)


if __name__ == "__main__":
    main(*sys.argv[1:4])
