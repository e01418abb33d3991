"""Tests of captures of Keras models. Keras has one backend in a process: KERAS_BACKEND, or else one that is there.

`test_other_backend.py` runs them once more with the other one.
"""

import os
from importlib.util import find_spec

os.environ.setdefault("KERAS_BACKEND", "torch" if find_spec("torch") else "jax")
