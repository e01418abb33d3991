"""Lines to a process and back, each exchange with a deadline, whatever the process does.

The process may stop reading, write a part of a line and fall silent, write without end to both streams, or die while a
child holds its pipes. None of these blocks the caller for longer than the deadline, and none fills memory: threads read
both streams, and what is kept is bounded.
"""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO

from ....adapters.registry import last_line
from ..programs import NoAnswer
from .endings import describe_end, end, new_mark, start
from .text import clean_line

BROKEN = "broke the protocol"
"""The kind of NoAnswer for a process whose messages are none of the protocol."""

_CHUNK = 2**18
_MOST_ERRORS = 4096  # bytes of standard error that are kept
_MOST_WAITING = 16  # lines that may wait to be read
_SAID = 200  # characters of a message that are shown
_POLL = 0.05  # seconds
_GRACE = 0.5  # seconds for what a dead process wrote to arrive
_FIRST_LIMIT = 2**20


class Channel:
    """A running program, to which lines are sent and which answers with lines. Raises OSError if it does not start.

    Every method raises NoAnswer where the process is lost, after ending it and all that it started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._mark = new_mark()
        self._process = start(command, environment, self._mark)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._input = self._process.stdin.fileno()
        self._writer: threading.Thread | None = None
        self._lines: SimpleQueue[bytes | NoAnswer | None] = SimpleQueue()
        self._limit, self._waiting = _FIRST_LIMIT, 0
        self._errors = b""
        self._is_open = True
        if os.name == "posix":
            os.set_blocking(self._input, False)
        threading.Thread(target=self._read_lines, args=(self._process.stdout,), daemon=True).start()
        self._drain = threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True)
        self._drain.start()

    def ask(self, line: bytes, timeout: float, limit: int) -> bytes:
        """Send a line, which ends with a line break, and return the line that comes back, of at most `limit` bytes.
        Raises NoAnswer, and closes the channel, if there is none within `timeout` seconds.
        """
        if not self._is_open:
            raise NoAnswer("died", "the adapter's process is gone")
        try:
            deadline = time.monotonic() + timeout
            self._limit = limit
            if not self._lines.empty():
                self._take(0)  # raises where the process is gone or broke the protocol
            self._write(line)
            reply = self._receive(deadline, timeout)
            if self._writer is not None:
                self._writer.join(max(0.0, deadline - time.monotonic()))
                if self._writer.is_alive():
                    raise NoAnswer("hung", f"it did not read a request within {timeout:g} s")
                self._writer = None
        except BaseException:
            self.close()
            raise
        return reply

    def close(self, farewell: bytes = b"", patience: float = 0.0) -> None:
        """End the process and all that it started. One that is at rest gets a last line, the end of its input, and
        `patience` seconds to end by itself.
        """
        if not self._is_open:
            return
        self._is_open = False
        if patience and self._writer is None and self._process.poll() is None:
            with suppress(OSError):
                os.write(self._input, farewell)
            self._close_input()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        end(self._process, self._mark)
        self._close_input()

    def _close_input(self) -> None:
        if self._writer is not None:
            self._writer.join(_GRACE)  # nobody reads any more, so it ends at once, unless a stranger has the pipe
        # A thread that still writes closes it when it ends.
        if self._process.stdin is not None and (self._writer is None or not self._writer.is_alive()):
            with suppress(OSError):
                self._process.stdin.close()

    def _write(self, line: bytes) -> None:
        """Write as much as the pipe takes at once, and the rest from a thread: a process may have stopped reading."""
        view, sent = memoryview(line), 0
        if os.name == "posix":
            try:
                while sent < len(view):
                    sent += os.write(self._input, view[sent:])
            except BlockingIOError:
                pass
            except OSError:
                return  # it is gone, which reading finds out
        if sent < len(view):
            self._writer = threading.Thread(target=self._write_rest, args=(view[sent:],), daemon=True)
            self._writer.start()

    def _write_rest(self, view: memoryview) -> None:
        with suppress(OSError, ValueError):
            if os.name == "posix":
                os.set_blocking(self._input, True)
            sent = 0
            while sent < len(view):
                sent += os.write(self._input, view[sent : sent + _CHUNK])
            if os.name == "posix":
                os.set_blocking(self._input, False)
        if not self._is_open and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _receive(self, deadline: float, timeout: float) -> bytes:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoAnswer("hung", f"no answer within {timeout:g} s")
            with suppress(Empty):
                return self._take(min(left, _POLL))
            if self._process.poll() is not None:
                # It is gone, though a child may hold its pipe. What it wrote before may be on its way.
                with suppress(Empty):
                    return self._take(_GRACE)
                raise self._death()

    def _take(self, timeout: float) -> bytes:
        """The next line. Raises Empty, or NoAnswer if there will be none."""
        found = self._lines.get(timeout=timeout) if timeout else self._lines.get_nowait()
        if found is None:
            raise self._death()
        if isinstance(found, NoAnswer):
            raise found
        self._waiting -= 1
        if not timeout:
            raise _broken("it wrote a line that nobody asked for", found)
        return found

    def _read_lines(self, stream: IO[bytes]) -> None:
        """Cut what the process writes to standard output into lines, until it ends or writes too much."""
        with stream, suppress(OSError, ValueError):
            self._cut_lines(stream.fileno())
        self._lines.put(None)

    def _cut_lines(self, source: int) -> None:
        parts: list[bytes] = []
        size = 0
        while chunk := os.read(source, _CHUNK):
            while (at := chunk.find(b"\n")) >= 0:
                self._waiting += 1
                self._lines.put(b"".join((*parts, chunk[:at])))
                parts, size, chunk = [], 0, chunk[at + 1 :]
                if self._waiting > _MOST_WAITING:
                    self._lines.put(_broken("it writes line after line without being asked", b""))
                    return
            if chunk:
                parts.append(chunk)
                size += len(chunk)
                if size > self._limit:
                    self._lines.put(_broken(f"it wrote a line of more than {self._limit} bytes", parts[0]))
                    return

    def _read_errors(self, stream: IO[bytes]) -> None:
        """Read standard error, so that the process never waits for it, and keep its end."""
        with stream, suppress(OSError, ValueError):
            while chunk := os.read(stream.fileno(), _CHUNK):
                self._errors = (self._errors + chunk)[-_MOST_ERRORS:]

    def _death(self) -> NoAnswer:
        """How the process ended, and what it said last."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        self._drain.join(_GRACE)
        said = clean_line(last_line(self._errors.decode(errors="replace").splitlines()), _SAID)
        return NoAnswer("died", f"the adapter's process {describe_end(code)}" + (f" ({said})" if said else ""))


def _broken(what: str, line: bytes) -> NoAnswer:
    return NoAnswer(BROKEN, f"{what}{show(line)}")


def show(line: bytes) -> str:
    """The beginning of a line as it stands behind a message."""
    said = clean_line(line[: 4 * _SAID].decode(errors="replace"), 80)
    return f": {said}" if said else ""
