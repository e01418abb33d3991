"""What every capture gives: a trace of the steps that have ended, also by the attributes of a trace."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ...reference import Array
from .errors import TraceError
from .manifest import Manifest
from .trace import Trace, TraceBuilder


def may_hold_matrices(shape: Sequence[int]) -> bool:
    """Whether an array may be a matrix or several, by its shape. A stack with an axis of length 1 is taken for none: so
    lie positions, which are added.
    """
    return len(shape) == 2 or (len(shape) > 2 and 1 not in shape)


def note_uncalled(names: Iterable[str]) -> Counter[str]:
    """Notes on parameters by their names, which may be weights of dense layers: they have gradients, and no call that
    was captured. Those of like layers share a note.
    """
    like = (re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names)
    return Counter(f"{name}: has a gradient, and no call of a dense layer with it was captured" for name in like)


class Recording:
    """The trace of a capture so far. `manifest`, `steps`, `bytes` and `save` are those of `trace()`."""

    def __init__(self, builder: TraceBuilder) -> None:
        self._builder = builder

    def trace(self) -> Trace:
        """The steps that have ended. Raises TraceError if there are none."""
        if not self._builder.step:
            raise TraceError(self._why_empty())
        return self._builder.trace()

    def _why_empty(self) -> str:
        return "capture: nothing was captured; run the forward and the backward pass of the model inside the block"

    @property
    def manifest(self) -> Manifest:
        """The manifest of the trace."""
        return self.trace().manifest

    @property
    def steps(self) -> tuple[Mapping[str, Array], ...]:
        """The arrays of each step, by name."""
        return self.trace().steps

    @property
    def bytes(self) -> int:
        """The bytes of all arrays of the steps that have ended, in memory or on disk."""
        return self._builder.trace().bytes

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the trace as a folder. Raises TraceError."""
        self.trace().save(folder)

    def __str__(self) -> str:
        return str(self._builder.trace())
