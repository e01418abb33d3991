"""Write the table of docs/frameworks.md from records: what each adapter declares, and the result of its run.

    kterm check thinc --profile quick --report thinc.jsonl
    python -m benchmarks.mistakes.frameworks [--write] thinc.jsonl flax.jsonl ...

A record may come from another environment than this one: nothing but the records is read. All have to be of one profile
and one version of the suite.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks._common import ROOT
from kterm.conformance.checks.verdict import Status
from kterm.conformance.records.record import Record, read

PAGE = ROOT / "docs" / "frameworks.md"
BEGIN, END = "<!-- frameworks -->\n", "<!-- end -->"
HEAD = (
    "| adapter | version | layout | dtypes | activations | result | cases | passed | inconclusive | unsupported | "
    "known divergences in |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def summarize(record: Record) -> Iterator[str]:
    """One row for each adapter of a record: what it declares, the result of the run, and how many cases had which
    status. Where no case judged an activation that is declared, the cell says of how many.
    """
    described: dict[str, dict[str, Any]] = {one["name"]: one for one in record.header["adapters"]}
    regimes: dict[str, dict[str, Counter[Status]]] = defaultdict(lambda: defaultdict(Counter))
    for (name, case), status in record.statuses().items():
        regimes[name][case.split("-")[5]][status] += 1
    for name, one in described.items():
        framework, version = one.get("framework") or name, one.get("framework_version") or one["version"]
        based = "" if framework == name else f", on {framework} {version}"
        known = [regime for regime, counts in sorted(regimes[name].items()) if counts["expected"]]
        total = sum((counts for counts in regimes[name].values()), Counter[Status]())
        judged = sum(activation in record.footer["judged"][name]["activations"] for activation in one["activations"])
        declared = len(one["activations"])
        cells = (
            f"`{name}`",
            f"{one['version']}{based}",
            one["layout"],
            ", ".join(one["dtypes"]),
            str(declared) if judged == declared else f"{judged} of {declared}",
            "conforms" if record.conforms else "does not conform",
            f"{total.total():,}",
            f"{total['passed']:,}",
            f"{total['inconclusive']:,}",
            f"{total['unsupported']:,}",
            f"{total['expected']:,}" + (f": {', '.join(known)}" if known else ""),
        )
        yield f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="replace the table in docs/frameworks.md")
    given = parser.parse_args(arguments)
    records = [read(path) for path in given.records]
    made = {tuple(record.header[key] for key in ("suite", "numbers", "profile", "seed")) for record in records}
    if len(made) > 1:
        parser.error(f"the records are of different runs: {', '.join(map(str, sorted(made)))}")
    rows = sorted(row for record in records for row in summarize(record))
    table = "\n".join((HEAD, *rows))
    print(table)
    if given.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
