"""What `kterm check --resume` begins with: the description of an interrupted run, as far as it still holds."""

import json
from pathlib import Path

from ...cases.plan import OptionError
from ...records.folder import DESCRIPTION
from ...records.form.environment import describe_place
from ...records.run import Run, RunRequest, load, prepare


def resume_run(folder: Path, timeout: float) -> Run:
    """The run described in the folder of an interrupted one, with its adapters loaded again. What its workers noted for
    each other is removed.

    Raises AdapterError where an adapter does not load, and OptionError where an adapter, or what computes, is another
    than before: then the rest of the run would not be of one piece with what is there.
    """
    place = describe_place()
    try:
        begun = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["place"]
        moved = [f"{name} was {begun[name]}, and is {now}" for name, now in place.items() if begun[name] != now]
        run = load(folder)
        first = run.adapters[0]
    except (AttributeError, LookupError, TypeError, ValueError):
        raise OptionError(
            f"the interrupted run cannot go on: its description in {folder} is damaged, or of another version; begin a "
            "new one"
        ) from None
    request = RunRequest(
        tuple(adapter.spec for adapter in run.adapters),
        run.options,
        device=run.device,
        timeout=timeout,
        mutant=first.mutant,
        measures_arithmetic=bool(run.fingerprints),
        python=first.python,
    )
    both = zip(run.adapters, prepare(request).adapters, strict=True)
    moved += [f"{was.name} is declared otherwise" for was, now in both if was != now]
    if moved:
        raise OptionError(f"the interrupted run cannot go on: {'; '.join(moved)}; begin a new one")
    for note in (*folder.glob("not-loaded-*.txt"), *folder.glob("selected-*.json")):
        note.unlink()
    return run
