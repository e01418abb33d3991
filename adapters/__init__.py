"""One short file a framework, and the contract that each fulfils."""

from .base import Adapter, Observation, Program
from .layout import IN_OUT, OUT_IN, WeightLayout

__all__ = ["IN_OUT", "OUT_IN", "Adapter", "Observation", "Program", "WeightLayout"]
