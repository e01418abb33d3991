"""How a report speaks of mistakes that the diagnosis was not built from.

    python -m benchmarks.mistakes.unknown [--shown | --gradients-alone] [--only NAME] [--profile quick]
        [--structures N] [--seed N] [-n WORKERS] [--json FILE]

Each mistake is planted in turn, the profile runs in the dtypes in which it can show, and the first cause of the report
is held against what is accepted for it.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import starmap
from multiprocessing import get_context
from pathlib import Path

from benchmarks._common import one_thread, table

from .score import MISTAKES_BY_NAME, Score, score_named

Job = tuple[str, bool, str, int, int | None]
"""The arguments of `score_named`."""


def _scores(jobs: Sequence[Job], workers: int) -> Iterator[Score]:
    if workers == 0:
        yield from starmap(score_named, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        # `score_named` lies in a module of its own: a spawned process does not import this one.
        yield from pool.map(score_named, *zip(*jobs, strict=True))


def summary(scores: Sequence[Score]) -> str:
    """A table: of the mistakes planted, how many are caught, named, and rightly named."""
    rows = []
    for shown in (True, False):
        own = [one for one in scores if one.shown == shown]
        if not own:
            continue
        counts = Counter(one.outcome for one in own)
        caught, named = len(own) - counts["not caught"], counts["right"] + counts["right as read"] + counts["wrong"]
        rows.append(
            (
                "z, x and k shown" if shown else "gradients alone",
                f"{len(own)}",
                f"{caught} ({caught / len(own):.1%})",
                f"{named}",
                f"{counts['right']}" + (f" ({counts['right'] / named:.1%})" if named else ""),
                f"{counts['right as read']}",
                f"{counts['wrong']}",
                f"{counts['unnamed']}",
                f"{counts['in words']}",
            )
        )
    header = (
        "",
        "mistakes",
        "caught",
        "named",
        "of them right",
        "found true later",
        "wrong",
        "none named",
        "said in words",
    )
    return table(header, rows)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = options.add_mutually_exclusive_group()
    mode.add_argument("--shown", action="store_true", help="with z, x and k shown alone; by default both ways")
    mode.add_argument("--gradients-alone", action="store_true", help="with gradients, outputs and E alone")
    options.add_argument("--only", action="append", metavar="NAME", help="repeatable; by default all")
    options.add_argument("--profile", default="quick")
    options.add_argument("--structures", type=int, help="run so many structures at most, or all if they catch nothing")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("-n", dest="workers", type=int, default=0, help="worker processes; 0 is this one")
    options.add_argument("--json", type=Path, help="write the scores here")
    options.add_argument("--list", action="store_true", help="list the mistakes and end")
    chosen = options.parse_args()
    one_thread()

    wanted = tuple(chosen.only or MISTAKES_BY_NAME)
    names = [name for name in MISTAKES_BY_NAME if name in wanted]
    if unknown := [name for name in wanted if name not in MISTAKES_BY_NAME]:
        raise SystemExit(f"--only: no mistake is called {', '.join(unknown)}; --list lists them")
    if chosen.list:
        print(*(f"{name}: {MISTAKES_BY_NAME[name].wrong}" for name in names), sep="\n")
        return
    modes = (True,) if chosen.shown else (False,) if chosen.gradients_alone else (True, False)
    jobs = [(name, shown, chosen.profile, chosen.seed, chosen.structures) for shown in modes for name in names]
    scores = list[Score]()
    for one in _scores(jobs, chosen.workers):
        scores.append(one)
        how = "shown" if one.shown else "gradients alone"
        print(f"{one.mistake} ({how}): {one.outcome}; {one.failing} of {one.cases} cases fail, {one.causes} causes")
        print(*(f"    {line}" for line in one.says.splitlines()), sep="\n", flush=True)
        if chosen.json is not None:
            plain = [asdict(each) for each in scores]
            chosen.json.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{summary(scores)}")


if __name__ == "__main__":
    main()
