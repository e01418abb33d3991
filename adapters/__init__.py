"""One short file for each framework, and the contract that all of them fulfil."""

from .base import Adapter, Observation, Program
from .layout import IN_OUT, OUT_IN, WeightLayout
from .limits import Limits
from .scripts.script import Call, Script

__all__ = ["IN_OUT", "OUT_IN", "Adapter", "Call", "Limits", "Observation", "Program", "Script", "WeightLayout"]
