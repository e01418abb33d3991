"""Requests and their results: JSON-RPC over a channel, with every reply checked against the type that is due."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec

from ....adapters.registry import MOST_MESSAGE, without_traceback
from ..programs import NoAnswer
from .channel import BROKEN, Channel, show
from .messages import NOT_LOADED, RAISED, UNSUPPORTED, Declaration, Initialize, Nothing, Reply, Request
from .text import clean_line, clean_lines_of

_ENCODER = msgspec.json.Encoder()
_FAREWELL = 1.0  # seconds in which a process may end by itself
_PLAIN_REPLY = 2**20
_UNLIKE = "its answer to {} is not as the protocol says"

Result = TypeVar("Result")


class NotLoadedError(Exception):
    """An adapter that does not load, or declares what cannot be used. The message is one line."""


class Client:
    """Asks one process. Raises OSError if the program does not start."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._channel = Channel(command, environment)
        self._count = 0

    def initialize(self, device: str | None, timeout: float) -> Declaration:
        """What the adapter declares, with clean text. Raises NotLoadedError, and NoAnswer if the process is lost."""
        try:
            raw = self.ask("initialize", Initialize(device=device), dict[str, Any], timeout)
            return msgspec.convert(clean_lines_of(raw), Declaration)
        except msgspec.ValidationError as error:
            raise NotLoadedError(f"{_UNLIKE.format('initialize')}: {_in_words(error)}") from None

    def ask(self, method: str, params: msgspec.Struct, kind: type[Result], timeout: float, limit: int = 0) -> Result:
        """The result of a request, of the type `kind`, in a line of at most `limit` bytes; 0 is enough for a reply
        without tensors. Raises NoAnswer, and closes the channel where the process is lost.
        """
        self._count += 1
        line = self._channel.ask(_line(self._count, method, params), timeout, limit or _PLAIN_REPLY)
        try:
            reply = _decode(line, kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self.broken(f"{_UNLIKE.format(method)}: {_in_words(error)}{show(line)}") from None
        if reply.id != self._count:
            raise self.broken(f"its answer to request {self._count} has the id {clean_line(str(reply.id), 20)}")
        if reply.error is not msgspec.UNSET:
            if reply.result is not msgspec.UNSET:
                raise self.broken(f"its answer to {method} has a result and an error")
            self._raise(method, reply.error.code, reply.error.message)
        if reply.result is msgspec.UNSET:
            raise self.broken(f"its answer to {method} has neither a result nor an error")
        return reply.result

    def broken(self, what: str) -> NoAnswer:
        """What breaks the protocol, after which the process is ended."""
        self._channel.close()
        return NoAnswer(BROKEN, what)

    def close(self) -> None:
        """End the process, and all that it started."""
        self._channel.close(_line(self._count + 1, "shutdown", Nothing()), _FAREWELL)

    def _raise(self, method: str, code: int, message: str) -> None:
        said = clean_line(without_traceback(message))
        if code == NOT_LOADED and method == "initialize":
            raise NotLoadedError(said or "it does not load")
        if code == UNSUPPORTED:
            raise NoAnswer("unsupported", said[:MOST_MESSAGE])
        if code == RAISED:
            raise NoAnswer("raised", said[:MOST_MESSAGE])
        raise NoAnswer("raised", f"{method}: error {clean_line(str(code), 20)}: {said}"[:MOST_MESSAGE])


def _line(number: int, method: str, params: msgspec.Struct) -> bytes:
    return _ENCODER.encode(Request(number, method, params)) + b"\n"


def _decode(line: bytes, kind: type[Result]) -> Reply[Result]:
    """A reply, checked. Raises DecodeError."""
    try:
        return _decoder(kind).decode(line)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Text of an exception may hold half a character, as Python's JSON writes it.
        try:
            plain = json.loads(line.decode(errors="replace"), parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise msgspec.DecodeError(str(error)) from None
        return msgspec.convert(clean_lines_of(plain), Reply[kind])


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(Reply[kind])


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


def _in_words(error: Exception) -> str:
    return clean_line(str(error), 200)
