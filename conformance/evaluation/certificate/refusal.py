"""Which records earn no certificate, and why: in one line that says what to do.

A record that does not add up, or is of another plan than its header makes, was refused when it was read. Here are those
that add up and are of a part of a run, of fewer cases than a certificate is about, or of a run that does not conform.
"""

from collections.abc import Callable, Iterator
from importlib import metadata

from ...cases.plan import Plan
from ...expectations.audit import FAILING
from ...records.form.text import count
from ...records.record import Record

QUALIFYING = ("quick", "standard", "thorough")
"""The profiles that earn a certificate. `smoke` holds the fewest cases that find the known mistakes, and most
activations stand in it in one dtype or none.
"""
WHOLE = ("standard", "thorough")
"""The profiles that leave nothing out: `quick` has one of the two other values of each parameter in each dtype, and one
or two structures of most regimes in bf16 and f16.
"""


def find_refusal(record: Record) -> str | None:
    """Why a record is of no whole run that this version of kterm can vouch for; None if it is."""
    return next(_refusals(record), None)


def _refusals(record: Record) -> Iterator[str]:
    header, here = record.header, metadata.version("kterm")
    if record.is_of_trace:
        yield (
            "is of a trace of a model, which no plan asked for; a certificate is about a framework: check it with "
            "kterm check ADAPTER --report FILE"
        )
    if header["suite"] != here:
        yield f"was written by kterm {header['suite']}, and this is {here}; certify it with the version that wrote it"
    if "shard" in header:
        index, of = header["shard"]
        yield f"is part {index} of {of} of a run; put the parts together with kterm merge, and certify the whole"
    if "selected" in header:
        yield "holds the cases that pytest -k selected; run all of them"
    for name, option in (("dtypes", "--dtype"), ("activations", "--activation"), ("regimes", "--regime")):
        if kept := header.get(name):
            yield f"was kept to {', '.join(kept)} by {option}; run it without {option}"
    if header.get("like"):
        yield "holds structures of a trace (--like) in place of those of the profile; run it without --like"
    if header["profile"] not in QUALIFYING:
        yield f"has profile {header['profile']}, which is too small; use --profile standard"


def find_forgery(record: Record, name: str, planned: Plan) -> str | None:
    """Where the header says other things of an adapter than `planned`, which was made anew from what it declares."""
    adapter = next(one for one in record.header["adapters"] if one["name"] == name)
    cut = None if planned.cut is None else planned.cut.to_json()
    due = {"unsupported": list(planned.unsupported), "structures": len(planned.groups), "cut": cut}
    for key, value in due.items():
        if adapter.get(key) != value:
            return f"says of {name} that {key} is {adapter.get(key)!r:.80}, and its plan has {value!r:.80}"
    return None


def find_failure(record: Record, name: str) -> str | None:
    """Why the run of an adapter does not conform; None if it does. One that has a planted mutant never does."""
    return next(_failures(record, name), None)


def _failures(record: Record, name: str) -> Iterator[str]:
    adapter = record.adapters[name]
    counts = record.footer["by_adapter"][name]
    missing = sum(of == name for of, _ in record.footer["unanswered"])
    if missing:
        yield f"{count(missing, 'case')} of {name} without a result; finish it with kterm check --resume"
    if adapter.mutant:
        yield f"{name} has the mutant {adapter.mutant}, a planted mistake"
    found = [f"{counts[status]:,} {status}" for status in ("failed", "errored", "blocked") if counts[status]]
    if found:
        yield f"cases of {name} {' and '.join(found)}"
    failing = [verdict for verdict in record.of_run[name] if verdict.fails]
    if failing:
        shown = ", ".join(f"{v.check} of {v.quantity}" for v in failing[:3])
        yield f"the run of {name} as a whole is wrong in {shown}"
    concerned = _concerned(record, name)
    for one in record.audited:
        if one.state in FAILING and concerned(one.id):
            yield one.message or f"expectation {one.id} is {one.state}"
    if name in record.unchecked:
        yield f"nothing was checked of {name}"


def _concerned(record: Record, name: str) -> Callable[[str], bool]:
    """Whether an expectation is about this adapter, or about none of the run."""

    def is_concerned(number: str) -> bool:
        entry = record.expectations[number]
        about = [other for other, adapter in record.adapters.items() if entry.concerns(adapter)]
        return name in about or not about

    return is_concerned
