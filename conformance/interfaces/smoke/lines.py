"""What `kterm smoke` prints."""

from collections.abc import Iterator, Sequence

from ...records.form.words import words
from ...records.report import printable
from .finding import Finding
from .look import Look

_MOST = 8


def title(look: Look, version: str) -> str:
    """One line: what was looked at."""
    adapter = look.adapter
    has = ", ".join(
        (*adapter.dtypes, f"biases {' '.join(adapter.biases)}", _count(len(adapter.activations), "activation"))
    )
    name = f"{adapter.name} {adapter.version}"
    return printable(
        f"kterm {version}: smoke of the adapter {name}; weights {adapter.layout}, {has}, on {adapter.device}"
    )


def lines_of(look: Look, findings: Sequence[Finding], device: str | None = None) -> Iterator[str]:
    """The findings, each with what to do, then how much was looked at, and what comes next on the `device` that the
    user named.
    """
    for number, one in enumerate(findings[:_MOST], 1):
        yield ""
        first, *rest = one.seen
        where = "the adapter" if one.whose == "adapter" else "the adapter or the framework"
        yield printable(f"{number}. {where}: {first}")
        yield from (printable(f"   {line}") for line in rest)
        yield printable(f"   {'fix' if one.whose == 'adapter' else 'look'}: {one.advice}")
        if one.case:
            yield printable(f"   in {_count(one.cases, 'case')}, such as {one.case}")
    if len(findings) > _MOST:
        yield f"and {_count(len(findings) - _MOST, 'more finding')}"
    if findings:
        yield ""
    counts = ", ".join(f"{count} {name}" for name, count in sorted(look.statuses.items(), key=lambda item: -item[1]))
    yield f"{_count(sum(look.statuses.values()), 'case')}: {counts}"
    if look.is_ended:
        yield "the adapter's process was lost, so nothing was asked for after that"
    if look.unsupported and look.passed:
        more = len(look.unsupported) - 1
        others = f", and {_count(more, 'other reason')}" if more else ""
        yield printable(f"not judged, since it is unsupported: {look.unsupported[0]}{others}")
    named = words(look.adapter.to_json(), device)
    if not findings:
        yield "nothing wrong seen in the adapter; next:"
        yield printable(f"  kterm check {named} --profile quick")
        return
    mine = sum(one.whose == "adapter" for one in findings)
    if mine:
        rest = len(findings) - mine
        after = f"; {_count(rest, 'more')} may be the framework's, or follow from it" if rest else ""
        yield f"wrong in the adapter: {_count(mine, 'thing')}{after}"
        yield "fix the adapter first, then run kterm smoke again"
        return
    yield "what was seen cannot say whether the adapter or the framework is wrong; to see every step of a case:"
    case = next((one.case for one in findings if one.case), "")
    yield printable(f"  kterm replay {case} {named}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("s" if number != 1 and what != "more" else "")
