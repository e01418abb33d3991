"""The tests of this folder, once more with Keras on its other backend, which needs another process."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from .models import BACKEND

OTHER = {"torch": "jax", "jax": "torch"}[BACKEND]


@pytest.mark.heavy
@pytest.mark.skipif(find_spec(OTHER) is None, reason=f"needs {OTHER}")
def test_the_other_backend() -> None:
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(folder)]
    run = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": OTHER}, cwd=folder.parents[3], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-5000:]
    assert " passed" in run.stdout
