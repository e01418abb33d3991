"""`kterm expect`: propose expectations for what a record says failed."""

from pathlib import Path

from ...expectations.expectation import ExpectationError
from ...records.form.console import TextConsole
from ...records.views.propose import propose_expectations


def run_expect(source: Path, output: Path | None) -> int:
    """Print the proposals, or write them to a new file. The exit code is 0. Raises RecordError and ExpectationError."""
    text, count = propose_expectations(source)
    if output is None:
        print(text, end="")
        return 0
    try:
        with output.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise ExpectationError(f"{output} exists and may hold reasons; name a new file") from None
    except OSError as error:
        raise ExpectationError(f"{output}: {error.strerror}; name a file that can be written") from None
    TextConsole().print(f"{output}: {count} new {'entry' if count == 1 else 'entries'}, each still needs a reason")
    return 0
