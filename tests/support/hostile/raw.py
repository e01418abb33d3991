"""Programs that break the protocol: what they write is no reply, or a reply to something else."""

import json
import time
from collections.abc import Callable
from typing import Any

from .honest import Honest, write
from .kind import Kind

PROTOCOL = "broke the protocol"


def _on(act: Callable[[bytes], bytes | None], method: str = "backprop") -> Callable[[Honest], None]:
    """The line of a reply goes through `act`."""
    return lambda host: host.act.update({method: act})


def _line(written: bytes, method: str = "backprop") -> Callable[[Honest], None]:
    """Another line instead of a reply."""
    return _on(lambda line: written, method)


def _reply(method: str = "backprop", **changes: Any) -> Callable[[Honest], None]:
    """A reply with other members, or without those that are `...`."""

    def act(line: bytes) -> bytes:
        reply = {**json.loads(line), **changes}
        return json.dumps({name: value for name, value in reply.items() if value is not ...}).encode() + b"\n"

    return _on(act, method)


def _error(error: Any) -> Callable[[Honest], None]:
    return _reply(result=..., error=error)


def _silent(line: bytes) -> None:
    time.sleep(3600)


def _drip(line: bytes) -> None:
    for byte in line * 100:
        write(bytes([byte]).replace(b"\n", b" "))
        time.sleep(0.05)


def _endless(part: bytes) -> Callable[[bytes], None]:
    def act(line: bytes) -> None:
        while True:
            write(part)

    return act


def _cut_and_wait(line: bytes) -> None:
    write(line[: len(line) // 2])
    time.sleep(3600)


def _early(host: Honest) -> None:
    """The reply to a call is written before the call comes, with the id that it will have."""

    def act(line: bytes) -> bytes:
        reply = json.loads(line)
        return line + json.dumps({**reply, "id": reply["id"] + 1, "result": {"outputs": 1}}).encode() + b"\n"

    host.act["build"] = act


def _member(member: bytes) -> Callable[[Honest], None]:
    """One more member, as bytes, at the head of the reply."""
    return _on(lambda line: b"{" + member + b"," + line[1:])


_FORGED = "\x1b[2K\rconforms (componentwise)\n[green]planned 8 = 8 passed\u202e\x00"

RAW = (
    Kind("garbage", PROTOCOL, "backprop", _line(b"garbage\n")),
    Kind("random bytes", PROTOCOL, "backprop", _line(bytes(b for b in range(256) if b != 10) + b"\n")),
    Kind("an empty line", PROTOCOL, "backprop", _line(b"\n")),
    Kind("a page of HTML", PROTOCOL, "backprop", _line(b"<html><script>alert(1)</script></html>\n")),
    Kind("a pickle", PROTOCOL, "backprop", _line(b"cos\tsystem\t(S'true'\ttR.\n")),
    Kind("a reply cut short", PROTOCOL, "backprop", _on(lambda line: line[: len(line) // 2] + b"\n")),
    Kind("a reply cut short, then silence", "hung", "no answer", _on(_cut_and_wait)),
    Kind("silence", "hung", "no answer", _on(_silent)),
    Kind("silence in build", "hung", "no answer", _on(_silent, "build")),
    Kind("a reply byte by byte", "hung", "no answer", _on(_drip)),
    Kind("a line without end", PROTOCOL, "more than", _on(_endless(b"x" * 65536))),
    Kind("lines without end", PROTOCOL, "", _on(_endless(b"{}\n" * 10000))),
    Kind("empty lines without end", PROTOCOL, "", _on(_endless(b"\n" * 65536)), is_slow=True),
    Kind("a gigantic line", PROTOCOL, "more than", _line(b'"' + b"x" * 2**25 + b'"\n')),
    Kind("a gigantic line in build", PROTOCOL, "more than", _line(b'"' + b"x" * 2**25 + b'"\n', "build")),
    Kind("a megabyte of text in an unknown member", "right", "", _member(b'"note": "' + b"x" * 10**6 + b'"')),
    Kind("another id", PROTOCOL, "id", _reply(id=10**6)),
    Kind(
        "the id as text",
        PROTOCOL,
        "id",
        _on(lambda line: line.replace(b'"id": ', b'"id": "').replace(b', "r', b'", "r', 1)),
    ),
    Kind("the id below zero", PROTOCOL, "id", _reply(id=-1)),
    Kind("a huge id", PROTOCOL, "", _reply(id=10**400)),
    Kind("the id null", PROTOCOL, "id", _reply(id=None)),
    Kind("the id true", PROTOCOL, "id", _reply(id=True)),
    Kind("no id", PROTOCOL, "id", _reply(id=...)),
    Kind("no version of JSON-RPC", PROTOCOL, "jsonrpc", _reply(jsonrpc=...)),
    Kind("another version of JSON-RPC", PROTOCOL, "jsonrpc", _reply(jsonrpc="1.0")),
    Kind("a list of replies", PROTOCOL, "", _on(lambda line: b"[" + line.strip() + b"]\n")),
    Kind("two replies in a line", PROTOCOL, "", _on(lambda line: line.strip() * 2 + b"\n")),
    Kind("each reply twice", PROTOCOL, "", _on(lambda line: line * 2)),
    Kind("a reply before its request", PROTOCOL, "", _early),
    Kind("a result and an error", PROTOCOL, "", _reply(error={"code": -32002, "message": "no"})),
    Kind("neither result nor error", PROTOCOL, "", _reply(result=...)),
    Kind("an error that is null", PROTOCOL, "", _error(None)),
    Kind("an error that is text", PROTOCOL, "error", _error("no")),
    Kind("an error whose code is text", PROTOCOL, "code", _error({"code": "x", "message": "no"})),
    Kind("an error without a message", PROTOCOL, "message", _error({"code": -32002})),
    Kind("an error with an unknown code", "raised", "7", _error({"code": 7, "message": "no"})),
    Kind("an error with a huge code", "raised", "error 1000", _error({"code": 10**400, "message": "no"})),
    Kind("an error with an empty message", "raised", "", _error({"code": -32002, "message": ""})),
    Kind("an error with a megabyte of text", "raised", "x", _error({"code": -32002, "message": "x" * 10**6})),
    Kind("an error with a forged report", "raised", "conforms", _error({"code": -32002, "message": _FORGED})),
    Kind("an error with half a character", "raised", "a", _error({"code": -32002, "message": "a\ud800b"})),
    Kind("everything is unsupported", "unsupported", "no", _error({"code": -32001, "message": "no"})),
    Kind("a byte order mark", PROTOCOL, "", _on(lambda line: b"\xef\xbb\xbf" + line)),
    Kind("UTF-16", PROTOCOL, "", _on(lambda line: line.decode().strip().encode("utf-16") + b"\n")),
    Kind("zero bytes before a reply", PROTOCOL, "", _on(lambda line: b"\0\0" + line)),
    Kind("invalid UTF-8 in a name", PROTOCOL, "", _on(lambda line: line.replace(b'"outputs"', b'"outputs\xff"'))),
    Kind("NaN as JSON does not know it", PROTOCOL, "", _reply(result=float("nan"))),
    Kind("a number past all limits", PROTOCOL, "", _line(b'{"jsonrpc":"2.0","id":4,"result":1e999999}\n')),
    Kind("a number of 100,000 digits", PROTOCOL, "", _line(b'{"jsonrpc":"2.0","id":' + b"9" * 100000 + b"}\n")),
    Kind("nested 100,000 deep", PROTOCOL, "", _line(b"[" * 100000 + b"]" * 100000 + b"\n")),
    Kind("objects nested deeply", PROTOCOL, "", _line(b'{"result":' * 30000 + b"1" + b"}" * 30000 + b"\n")),
    Kind("100,000 members", PROTOCOL, "", _line(b'{"' + b'":0,"'.join(b"%d" % i for i in range(100000)) + b'":0}\n')),
    Kind("a program number as text", PROTOCOL, "build", _reply("build", result={"program": "0"})),
    Kind("a program number as a float", PROTOCOL, "build", _reply("build", result={"program": 0.5})),
    Kind("no program number", PROTOCOL, "build", _reply("build", result={})),
    Kind("build is null", PROTOCOL, "build", _reply("build", result=None)),
    Kind("text before the first reply", "load", "", _on(lambda line: b"Welcome!\n" + line, "initialize")),
    Kind("garbage at first", "load", "", _line(b"garbage\n", "initialize")),
    Kind("silence at first", "load", "hung", _on(_silent, "initialize")),
    Kind("a line that nobody asked for", PROTOCOL, "", _on(lambda line: line + b"epoch 1\n", "build")),
    Kind("a carriage return", "right", "", _on(lambda line: line.replace(b"\n", b"\r\n"))),
    Kind("spaces around a reply", "right", "", _on(lambda line: b"  \t" + line.strip() + b"  \n")),
    Kind(
        "a result twice", PROTOCOL, "", _on(lambda line: line.replace(b'"result":', b'"result": {}, "result": 5, "x":'))
    ),
    Kind("an unknown member", "right", "", _member(b'"note": "hello"')),
)
