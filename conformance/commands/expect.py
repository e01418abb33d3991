"""`kterm expect`: propose expectations for what a record says failed."""

from pathlib import Path

from ..expectations.expectation import ExpectationError
from ..records.propose import proposed


def run_expect(source: Path, output: Path | None) -> int:
    """Print the proposals, or write them to a new file. Raises RecordError and ExpectationError."""
    text, count = proposed(source)
    if output is None:
        print(text, end="")
        return 0
    try:
        with output.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise ExpectationError(f"{output} is there already, perhaps with reasons in it; name a new file") from None
    except OSError as error:
        raise ExpectationError(f"{output}: {error.strerror}; name a file that can be written") from None
    print(f"{output}: {count} new {'entry' if count == 1 else 'entries'}, still without a reason")
    return 0
