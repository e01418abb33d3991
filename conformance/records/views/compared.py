"""A record for a comparison: what is compared of it, and the commands that show its cases."""

from collections.abc import Callable
from dataclasses import fields

from ..compare.recorded import Recorded
from ..form.words import words
from ..record import Record


def what_is_recorded(record: Record) -> Recorded:
    """What a comparison needs of a record."""
    names = [field.name for field in fields(Recorded)]
    return Recorded(**{name: getattr(record, name) for name in names})


def replay_commands(record: Record) -> Callable[[str, str], str]:
    """A function that gives the command that replays a case of an adapter of a run, by name; empty if none can."""
    described = {one["name"]: one for one in record.header["adapters"]}
    device = record.header.get("device")

    def command_for(case: str, adapter: str) -> str:
        one = described[adapter]
        return f"kterm replay {case} {words(one, device)}" if one["spec"] else ""

    return command_for
