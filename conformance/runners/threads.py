"""One compute thread a process: the environment that pins BLAS, OpenMP and XLA. To be set before any of them is
imported.
"""

import os

_ONE = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NPROC",
)
_XLA = "--xla_cpu_multi_thread_eigen=false"


def pin(environment: dict[str, str]) -> dict[str, str]:
    """A copy of `environment` in which every thread pool has one thread. Other XLA flags are kept."""
    flags = environment.get("XLA_FLAGS", "")
    return environment | dict.fromkeys(_ONE, "1") | {"XLA_FLAGS": flags if _XLA in flags else f"{flags} {_XLA}".strip()}


def pin_here() -> None:
    """Pin this process, and with it all that it starts."""
    os.environ.update(pin(dict(os.environ)))
