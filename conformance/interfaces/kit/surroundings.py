"""The files beside a new adapter: its test, what is to be installed, a note and a workflow."""

from ...records.views.links import page_link

TEST = '''"""Checks the gradients of @NAME@, one test for each structure: pytest test_adapter.py"""

from collections.abc import Callable
from pathlib import Path

from adapter import @CLASS@
from kterm import parametrize_with_cases

# Known divergences go into this file beside the test; kterm expect proposes them from the record of a run.
EXPECTATIONS = Path(__file__).with_name("expectations.toml")


@parametrize_with_cases(@CLASS@(), profile="smoke", expectations=EXPECTATIONS if EXPECTATIONS.exists() else None)
def test_gradients(check: Callable[[], None]) -> None:
    check()
'''

PROCESS_TEST = '''"""Checks the gradients of @NAME@, in one run: pytest test_adapter.py"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# Known divergences go into this file beside the test; kterm expect proposes them from the record of a run.
EXPECTATIONS = HERE / "expectations.toml"


def test_gradients() -> None:
    # The program that speaks the protocol. For one in another language name that, as in "command:./adapter".
    spec = f"command:'{sys.executable}' adapter.py"
    command = [sys.executable, "-m", "kterm", "check", spec, "--profile", "smoke", "-n", "0"]
    if EXPECTATIONS.exists():
        command += ["--expectations", str(EXPECTATIONS)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
'''

REQUIREMENTS = """\
# HOLE: kterm and the framework, a line each, as you install them where the tests run.
"""

NOTE = f"""\
# The gradients of @NAME@

`adapter.py` runs the framework for kterm. Its holes are marked with HOLE, in the order to fill them in. In this folder,

    kterm smoke @SPEC@

says in seconds what is wrong in it, with the fix. Then `kterm check @SPEC@ --profile quick` checks the framework; go on
with `--profile standard` once that conforms.

`test_adapter.py` does the same under pytest, with the known divergences in `expectations.toml` if there is such a file.
`.github/workflows/gradients.yml` runs it on every push, once `requirements.txt` names what is to be installed; copy the
folder `.github` to the root of the repository.

{page_link("validate-a-port")} goes through all of it with an example.
"""

WORKFLOW = """\
name: gradients
on: [push, pull_request]
jobs:
  check:
    runs-on: ubuntu-latest
    timeout-minutes: 30
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      # HOLE: where this folder is in the repository.
      - run: python -m pip install -r requirements.txt
        working-directory: @NAME@
      - run: kterm check @SPEC@ --profile quick --github
        working-directory: @NAME@
"""
