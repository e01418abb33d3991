"""Programs that declare what cannot be, or say it in a strange way."""

from collections.abc import Callable
from typing import Any

from .honest import Honest
from .kind import Kind


def _with(**changes: Any) -> Callable[[Honest], None]:
    return lambda host: host.declared.update(changes)


def _without(name: str) -> Callable[[Honest], None]:
    return lambda host: host.declared.pop(name, None)


def _instead(result: Any) -> Callable[[Honest], None]:
    def change(host: Honest) -> None:
        host.declared = result

    return change


def _raw(old: bytes, new: bytes) -> Callable[[Honest], None]:
    def change(host: Honest) -> None:
        host.act["initialize"] = lambda line: line.replace(old, new)

    return change


def _deep() -> Any:
    inner: Any = []
    for _ in range(500):
        inner = [inner]
    return inner


_NAMED = _raw(b'"plain"', b'"pl\xffain"')

DECLARATIONS = (
    Kind("name is a number", "load", "name", _with(name=3)),
    Kind("name is null", "load", "name", _with(name=None)),
    Kind("name is empty", "load", "name", _with(name="")),
    Kind("name is blank", "load", "name", _with(name=" \n ")),
    Kind("name is missing", "load", "name", _without("name")),
    Kind("name has line breaks", "right", "", _with(name="one\ntwo\r\nkterm: conforms")),
    Kind("name has markup", "right", "", _with(name="[bold red]conforms[/] <b>x</b> {0} %s")),
    Kind("name has terminal controls", "right", "", _with(name="\x1b[2J\x1b]0;title\x07plain\x9b1m")),
    Kind("name is written from right to left", "right", "", _with(name="\u202eplain\u2066\u200f")),
    Kind("name has half a character", "right", "", _with(name="pl\ud800ain")),
    Kind("name is a megabyte long", "right", "", _with(name="n" * 10**6)),
    Kind("name is not UTF-8", "right", "", _NAMED),
    Kind("name has a zero byte", "right", "", _with(name="pl\0ain")),
    Kind("version is missing", "load", "version", _without("version")),
    Kind("version is empty", "load", "version", _with(version="")),
    Kind("version is an object", "load", "version", _with(version={})),
    Kind("layout is unknown", "load", "layout", _with(layout="diagonal")),
    Kind("layout is null", "load", "layout", _with(layout=None)),
    Kind("layout has markup", "load", "layout", _with(layout="[/]\x1b[31m")),
    Kind("dtypes are empty", "load", "dtypes", _with(dtypes=[])),
    Kind("dtypes are one string", "load", "dtypes", _with(dtypes="f64")),
    Kind("dtypes are unknown", "load", "dtypes", _with(dtypes=["f128"])),
    Kind("dtypes are nested", "load", "dtypes", _with(dtypes=[["f64"]])),
    Kind("dtypes are null", "load", "dtypes", _with(dtypes=None)),
    Kind("activations are an object", "load", "activations", _with(activations={})),
    Kind("activations are empty", "load", "activations", _with(activations=[])),
    Kind("activations are unknown", "load", "activations", _with(activations=["identity", "warp"])),
    Kind("activations are numbers", "load", "activations", _with(activations=[1])),
    Kind("biases are empty", "load", "biases", _with(biases=[])),
    Kind("biases are unknown", "load", "biases", _with(biases=["both"])),
    Kind("no structures at all", "load", "max_structures", _with(limits={"max_structures": 0})),
    Kind("structures below zero", "load", "max_structures", _with(limits={"max_structures": -1})),
    Kind("structures as text", "load", "max_structures", _with(limits={"max_structures": "3"})),
    Kind("structures as a float", "load", "max_structures", _with(limits={"max_structures": 2.5})),
    Kind("structures beyond measure", "load", "max_structures", _with(limits={"max_structures": 1e99})),
    Kind("structures as a truth value", "load", "max_structures", _with(limits={"max_structures": True})),
    Kind("limits are a list", "load", "limits", _with(limits=[])),
    Kind("a kink without a slope", "load", "kinks", _with(kinks=[["relu"]])),
    Kind("a kink where there is none", "load", "kink", _with(activations=["relu"], kinks=[["relu", 5, 0]])),
    Kind("a slope outside its sides", "load", "derivatives", _with(activations=["relu"], kinks=[["relu", 0, 9]])),
    Kind("a slope that is no number", "load", "initialize", _with(kinks=[["relu", 0, float("nan")]])),
    Kind("an unknown format of operands", "load", "operands", _with(arithmetic={"f64": {"operands": "f7"}})),
    Kind("arithmetic of an unknown dtype", "load", "f99", _with(arithmetic={"f99": {}})),
    Kind("arithmetic is a list", "load", "arithmetic", _with(arithmetic=[])),
    Kind("another protocol", "load", "protocol", _with(protocol=2)),
    Kind("protocol as text", "load", "protocol", _with(protocol="1")),
    Kind("device is a number", "load", "device", _with(device=3)),
    Kind("optional methods that do not exist", "right", "", _with(optional=["fly"])),
    Kind("a declaration that is null", "load", "initialize", _instead(None)),
    Kind("a declaration that is a list", "load", "initialize", _instead([])),
    Kind("a declaration that is text", "load", "initialize", _instead("ok")),
    Kind("a declaration that is nested deeply", "load", "", _instead(_deep())),
    Kind("a name twice", "right", "", _raw(b'"name":', b'"name": "other", "name":')),
    Kind("unknown members", "load", "unknown field", _with(__class__="x", __reduce__=["os.system", "true"])),
)
