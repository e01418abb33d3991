"""Mistakes that the diagnosis was not built from.

The table of mutants in `kterm.conformance.mutants` is what the diagnosis knows. A score over that table says nothing of
mistakes that it does not know. The mistakes here were collected from trackers, ports and courses, and are planted as a
framework would make them: in the calls of a small framework (`engine.Engine`) or in PyTorch's own functions. What may
rightly be said of each is written down beside it. Nothing of the diagnosis may be changed to suit a row of this set.

    python -m benchmarks.mistakes.unknown [--shown | --gradients-alone] [--only NAME] [--json FILE]
"""
