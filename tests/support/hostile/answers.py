"""Programs whose answers have the wrong form, or the right form and wrong numbers."""

import base64
import struct
from collections.abc import Callable
from typing import Any

from .honest import Honest, Message, numbers, tensor
from .kind import Kind

PROTOCOL = "broke the protocol"


def _with(name: str, value: Any) -> Callable[[Honest], None]:
    """One member of the answer is `value`, or without it if that is `...`."""

    def change(result: Message) -> Message:
        if value is ...:
            del result[name]
        else:
            result[name] = value
        return result

    return lambda host: setattr(host, "change", change)


def _tensor(name: str, **changes: Any) -> Callable[[Honest], None]:
    """A tensor of the answer, the first of its list, has other members."""

    def change(result: Message) -> Message:
        found = result[name]
        (found[0] if isinstance(found, list) else found).update(changes)
        return result

    return lambda host: setattr(host, "change", change)


def _numbers(convert: Callable[[list[float]], list[float]], *names: str) -> Callable[[Honest], None]:
    """The numbers of the answer are others."""

    def changed(one: Message) -> Message:
        return tensor(convert(numbers(one)), one["shape"])

    def change(result: Message) -> Message:
        for name in names or tuple(result):
            found = result[name]
            result[name] = [changed(one) for one in found] if isinstance(found, list) else changed(found)
        return result

    return lambda host: setattr(host, "change", change)


def _stale(host: Honest) -> None:
    """The answer to the call before; to the first call, its own."""
    kept: list[Message] = []

    def change(result: Message) -> Message:
        kept.append(result)
        return kept[-2] if len(kept) > 1 else result

    host.change = change


def _frozen(host: Honest) -> None:
    kept: list[Message] = []

    def change(result: Message) -> Message:
        kept.append(result)
        return kept[0]

    host.change = change


def _doubled(name: str) -> Callable[[Honest], None]:
    def change(result: Message) -> Message:
        result[name] = result[name] * 2
        return result

    return lambda host: setattr(host, "change", change)


def _half(values: list[float]) -> list[float]:
    return [*struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values))]


def _swapped(values: list[float]) -> list[float]:
    return [*struct.unpack(f">{len(values)}d", struct.pack(f"<{len(values)}d", *values))]


_EIGHT = base64.b64encode(bytes(8)).decode()

ANSWERS = (
    Kind("no outputs", PROTOCOL, "outputs", _with("outputs", ...)),
    Kind("outputs are null", "problems", "outputs", _with("outputs", None)),
    Kind("outputs are a number", PROTOCOL, "outputs", _with("outputs", 3)),
    Kind("outputs are lists of numbers", PROTOCOL, "outputs", _with("outputs", [[1.0]])),
    Kind("outputs are text", "problems", "outputs", _with("outputs", "\x1b[31m[bold]conforms")),
    Kind("no error", PROTOCOL, "error", _with("error", ...)),
    Kind("no weight gradients", PROTOCOL, "weight_gradients", _with("weight_gradients", ...)),
    Kind("an empty list of weight gradients", "problems", "weight", _with("weight_gradients", [])),
    Kind("weight gradients are null", PROTOCOL, "weight_gradients", _with("weight_gradients", None)),
    Kind("each weight gradient is null", "problems", "dW", _with("weight_gradients", [None, None])),
    Kind("too many weight gradients", "problems", "weight", _doubled("weight_gradients")),
    Kind("no bias gradients", "problems", "bias", _with("bias_gradients", [])),
    Kind("an answer that is null", PROTOCOL, "backprop", lambda host: setattr(host, "change", lambda result: None)),
    Kind("an answer that is empty", PROTOCOL, "backprop", lambda host: setattr(host, "change", lambda result: {})),
    Kind("an answer that is a list", PROTOCOL, "backprop", lambda host: setattr(host, "change", lambda result: [])),
    Kind("a shape exchanged", "problems", "shape", _tensor("weight_gradients", shape=[3, 2])),
    Kind("a shape flattened", "problems", "shape", _tensor("weight_gradients", shape=[6])),
    Kind("a shape below zero", PROTOCOL, "shape", _tensor("weight_gradients", shape=[-2, -3])),
    Kind("a huge shape", PROTOCOL, "", _tensor("weight_gradients", shape=[10**9, 10**9])),
    Kind("a shape past 64 bits", PROTOCOL, "", _tensor("weight_gradients", shape=[2**64, 1])),
    Kind("a shape whose product wraps", PROTOCOL, "", _tensor("weight_gradients", shape=[2**32, 2**32])),
    Kind("a huge shape without entries", "problems", "shape", _tensor("weight_gradients", shape=[0, 10**6], data="")),
    Kind("a shape of floats", PROTOCOL, "shape", _tensor("weight_gradients", shape=[2.5, 3])),
    Kind("a shape of truth values", PROTOCOL, "shape", _tensor("weight_gradients", shape=[True, True])),
    Kind("a shape of text", PROTOCOL, "shape", _tensor("weight_gradients", shape="2,3")),
    Kind("a shape of 40 dimensions", PROTOCOL, "", _tensor("error", shape=[1] * 100)),
    Kind("an unknown dtype", "problems", "f128", _tensor("outputs", dtype="f128")),
    Kind("a dtype of objects", "problems", "dtype", _tensor("outputs", dtype="|O8")),
    Kind("a dtype that is null", PROTOCOL, "dtype", _tensor("outputs", dtype=None)),
    Kind("a dtype that does not fit the bytes", PROTOCOL, "", _tensor("outputs", dtype="f32")),
    Kind("an error with a dimension", "problems", "E has shape", _tensor("error", shape=[1])),
    Kind("data too short", PROTOCOL, "", _tensor("weight_gradients", data=_EIGHT)),
    Kind("data too long", PROTOCOL, "", _tensor("error", data=_EIGHT + _EIGHT)),
    Kind("data of a part of a number", PROTOCOL, "", _tensor("error", data="AAAA")),
    Kind("data that are no base64", PROTOCOL, "", _tensor("error", data="~~~~!!!!====")),
    Kind("data with half an ending", PROTOCOL, "", _tensor("error", data="AAAAAAAAAAA")),
    Kind("data as a list of numbers", PROTOCOL, "data", _tensor("error", data=[0.5])),
    Kind("data that are null", PROTOCOL, "data", _tensor("error", data=None)),
    Kind("NaN in every tensor", "wrong", "", _numbers(lambda values: [float("nan")] * len(values))),
    Kind("infinity as the error", "wrong", "", _numbers(lambda values: [float("inf")], "error")),
    Kind("says that it changed its inputs", "problems", "modified", _with("modified", True)),
    Kind("changed its inputs, as text", PROTOCOL, "modified", _with("modified", "yes")),
    Kind("z of the wrong length", "problems", "z", _doubled("z")),
    Kind("k is a number", PROTOCOL, "k", _with("k", 1)),
    Kind("x of the wrong shape", "problems", "x", _tensor("x", shape=[1, 12])),
    Kind("all zeros", "wrong", "", _numbers(lambda values: [0.0] * len(values))),
    Kind("one part in a million off", "wrong", "", _numbers(lambda values: [a * 1.000001 for a in values])),
    Kind("rounded to float32", "wrong", "", _numbers(_half)),
    Kind("bytes in the other order", "wrong", "", _numbers(_swapped, "outputs")),
    Kind("the sign of the gradients", "wrong", "", _numbers(lambda values: [-a for a in values], "weight_gradients")),
    Kind("gradients of another order", "wrong", "", _numbers(lambda values: values[::-1], "weight_gradients")),
    Kind("the answer to the call before", "wrong", "", _stale),
    Kind("the first answer again and again", "wrong", "", _frozen),
    Kind("zeros with a sign", "right", "", _numbers(lambda values: [a or -0.0 for a in values])),
    Kind("nothing shown", "right", "", lambda host: setattr(host, "change", _hide)),
)


def _hide(result: Message) -> Message:
    return {name: value for name, value in result.items() if name not in ("z", "x", "k")}
