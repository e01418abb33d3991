"""Write the table of docs/frameworks.md from records: what each adapter declares, and the result of a run by regime.

    kterm check thinc --profile quick --report thinc.jsonl
    python -m benchmarks.mistakes.frameworks thinc.jsonl flax.jsonl ... > table.md

A record may come from another environment than this one: nothing but the records is read.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kterm.conformance.records.record import Record, read


def summarize(record: Record) -> Iterator[str]:
    """One row for each adapter of a record: framework, version, layout, dtypes, activations, and results by regime."""
    described: dict[str, dict[str, Any]] = {one["name"]: one for one in record.header["adapters"]}
    regimes: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for (name, case), status in record.statuses().items():
        regimes[name][case.split("-")[5]][status] += 1
    for name, one in described.items():
        framework, version = one.get("framework") or name, one.get("framework_version") or one["version"]
        based = "" if framework == name else f", on {framework} {version}"
        known = [regime for regime, counts in sorted(regimes[name].items()) if counts["expected"]]
        failing = [regime for regime, counts in sorted(regimes[name].items()) if counts["failed"] or counts["errored"]]
        result = "conforms" if not failing else f"fails in {', '.join(failing)}"
        total = sum((counts for counts in regimes[name].values()), Counter[str]())
        cells = (
            f"`{name}`",
            f"{one['version']}{based}",
            one["layout"],
            ", ".join(one["dtypes"]),
            str(len(one["activations"])),
            result,
            f"{total['passed']:,}",
            f"{total['unsupported']:,}",
            f"{total['expected']:,}" + (f": {', '.join(known)}" if known else ""),
        )
        yield f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", nargs="+", type=Path)
    print(
        "| adapter | version | layout | dtypes | activations | result | passed | unsupported | known divergences in |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for path in sorted(parser.parse_args(arguments).records):
        print(*summarize(read(path)), sep="\n")


if __name__ == "__main__":
    main()
