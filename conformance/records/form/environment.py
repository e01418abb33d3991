"""Where a run takes place: versions of what computes, the processor, and the settings that change arithmetic. Nothing
in it differs between two runs of one installation on one machine.
"""

import hashlib
import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

_LIBRARIES = (
    "numpy", "scipy", "ml_dtypes", "torch", "jax", "jaxlib", "tensorflow", "keras", "mlx", "paddlepaddle", "thinc",
    "autograd", "pytensor", "casadi", "scikit-learn", "equinox", "flax", "dm-haiku", "optax",
)  # fmt: skip
_PREFIXES = (
    "XLA_", "JAX_", "TF_ENABLE", "TF_XLA", "TF_CPU", "TF_DET", "TF_CUDNN", "TORCH_", "PYTORCH_", "ATEN_", "CUDA_",
    "CUBLAS_", "NVIDIA_TF32", "HIP_", "ROCR_", "MKL_", "ONEDNN_", "DNNL_", "OMP_", "KMP_", "GOMP_", "OPENBLAS_",
    "BLIS_", "VECLIB_", "NUMEXPR_", "KERAS_", "THINC_", "PYTENSOR_", "FLAGS_", "MLX_", "NPROC", "NPY_",
)  # fmt: skip
"""How the names of variables begin that may change what a framework computes."""


@cache
def _processor() -> tuple[str, str]:
    """The model of the processor, and 16 hex digits of a hash of its flags; what is not known is empty."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor(), ""
    rows = [line.partition(":")[::2] for line in text.splitlines()]
    facts = {name.strip().lower(): value.strip() for name, value in reversed(rows)}
    flags = " ".join(sorted(facts.get("flags", facts.get("features", "")).split()))
    hashed = hashlib.blake2b(flags.encode(), digest_size=8).hexdigest() if flags else ""
    return facts.get("model name", platform.processor()), hashed


def _blas() -> str:
    """The BLAS that NumPy calls, with the kernels that it chose. Which further libraries are loaded depends on what was
    imported so far.
    """
    of_numpy = [one for one in threadpool_info() if one["user_api"] == "blas" and "numpy" in one["filepath"]]
    names = ("internal_api", "version", "architecture", "threading_layer")
    return "; ".join(" ".join(str(one[name]) for name in names if one.get(name)) for one in of_numpy)


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe_environment() -> dict[str, Any]:
    """The environment in plain JSON types. Versions are those that are installed beside kterm: a framework in an
    environment of its own has its version with its adapter.
    """
    cpu, flags = _processor()
    variables = {name: os.environ[name] for name in sorted(os.environ) if name.startswith(_PREFIXES)}
    return {
        "libraries": _versions(),
        "cpu": cpu,
        "cpu_flags": flags,
        "cores": os.cpu_count() or 0,
        "blas": _blas(),
        "variables": variables,
    }


def describe_place() -> dict[str, str]:
    """What has to be equal for two parts of one run: the suite, and what computes its numbers."""
    found = describe_environment()
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(found["libraries"].items()))
    return {"kterm": metadata.version("kterm"), "environment": libraries, "processor": str(found.get("cpu", ""))}
