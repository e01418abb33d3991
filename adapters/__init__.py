"""One short file a framework, and the contract that each fulfils."""

from .base import Adapter, Observation, Program
from .layout import IN_OUT, OUT_IN, WeightLayout
from .scripts.script import Call, Script

__all__ = ["IN_OUT", "OUT_IN", "Adapter", "Call", "Observation", "Program", "Script", "WeightLayout"]
