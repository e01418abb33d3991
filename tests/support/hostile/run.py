"""Run a hostile program: python run.py KIND CALLS [FLAG]. It needs the standard library alone."""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.support.hostile.honest import Honest
from tests.support.hostile.table import KINDS


def _delayed(host: Honest, calls: int, flag: Path | None) -> None:
    """Let the first calls of `backprop` be answered honestly."""
    change, act, honest = host.change, host.act.get("backprop"), Honest().change
    count = 0

    def is_due() -> bool:
        if count > calls and flag:
            flag.touch()
        return count > calls

    def count_and_change(result: dict) -> object:
        nonlocal count
        count += 1
        return change(result) if is_due() else honest(result)

    host.change = count_and_change
    if act is not None:
        own: Callable[[bytes], bytes | None] = act
        host.act["backprop"] = lambda line: own(line) if is_due() else line


if __name__ == "__main__":
    name, calls, *rest = sys.argv[1:]
    mark = Path(rest[0]) if rest else None
    hostile = Honest()
    if mark is None or not mark.exists():
        KINDS[name].change(hostile)
        _delayed(hostile, int(calls), mark)
    hostile.run()
