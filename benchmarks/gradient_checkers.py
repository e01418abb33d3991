"""The time to verify the same gradients with kterm, torch.autograd.gradcheck and jax.test_util.check_grads.

    python -m benchmarks.gradient_checkers [--write]

The dtype is float64, the only one that all of them can check. Every checker gets the same network and numbers. It
verifies the gradients of E with respect to all weights and biases, as PyTorch or JAX computes them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import torch
from jax.test_util import check_grads

from benchmarks._common import (
    circumstances,
    interleaved,
    one_thread,
    parser,
    publish,
    quartiles,
    seconds_text,
    table,
)
from kterm.adapters.registry import load
from kterm.conformance.cases.case import Group
from kterm.conformance.cases.draw import make_draws
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import status
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Network, Structure

DEPTH = 3
BATCH = 8
ACTIVATION = "tanh"
WIDTHS = (4, 16, 64, 256)
SLOW_AT_MOST = 64
"""The largest width for slow gradcheck, which evaluates E twice per parameter: at width 256 a check takes minutes."""
SMALL_STEP = 1e-5
"""Smaller than the default step of check_grads. It shows whether a rejection is only due to the truncation error of the
finite difference.
"""

Check = Callable[[], bool]
"""Runs a checker and returns whether it accepts the gradients."""


def group(width: int) -> Group:
    """One case: the first draw of a network of equal widths in the normal regime."""
    network = Network((width,) * (DEPTH + 1), (ACTIVATION,) * DEPTH, "pre")
    return Group(Structure(network, BATCH, "f64"), "normal", 0, (0,))


def kterm_check(width: int, adapter: str) -> Check:
    """All checks of kterm on one case, including compilation: layout, forward, k-terms, gradients, descent, batch."""
    cases, runner = group(width), LocalRunner(load(adapter))

    def check() -> bool:
        (verdicts,) = examine(cases, runner).verdicts
        return status(verdicts) == "passed"

    return check


def torch_check(width: int, fast: bool) -> Check:
    """torch.autograd.gradcheck of E with its default tolerances."""
    drawn = make_draws(group(width).cases)[0]
    parameters = [torch.tensor(a, requires_grad=True) for a in (*drawn.parameters.weights, *drawn.parameters.biases)]
    x, y = torch.tensor(drawn.x), torch.tensor(drawn.y)

    def error(*given: torch.Tensor) -> torch.Tensor:
        out = x
        for weight, bias in zip(given[:DEPTH], given[DEPTH:], strict=True):
            out = torch.tanh(out @ weight + bias)
        return torch.nn.functional.mse_loss(out, y, reduction="sum") / 2

    def check() -> bool:
        return torch.autograd.gradcheck(error, parameters, fast_mode=fast, raise_exception=False)

    return check


def jax_check(width: int, step: float | None = None) -> Check:
    """jax.test_util.check_grads of E in reverse mode and first order, with default tolerances and, by default, step."""
    drawn = make_draws(group(width).cases)[0]
    parameters = tuple(jnp.asarray(a) for a in (*drawn.parameters.weights, *drawn.parameters.biases))
    x, y = jnp.asarray(drawn.x), jnp.asarray(drawn.y)

    def error(*given: jax.Array) -> jax.Array:
        out = x
        for weight, bias in zip(given[:DEPTH], given[DEPTH:], strict=True):
            out = jnp.tanh(out @ weight + bias)
        return jnp.square(out - y).sum() / 2

    def check() -> bool:
        try:
            check_grads(error, parameters, order=1, modes=["rev"], eps=step)
        except AssertionError:
            return False
        return True

    return check


def main() -> None:
    """Measure and print; with --write, update the page."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    chosen = options.parse_args()
    one_thread()
    torch.set_num_threads(1)
    jax.config.update("jax_enable_x64", True)

    rows, notes = [], []
    for width in chosen.widths:
        checks = {
            "kterm, torch": kterm_check(width, "torch"),
            "gradcheck, fast": torch_check(width, fast=True),
            "kterm, jax": kterm_check(width, "jax"),
            "check_grads": jax_check(width),
        }
        if width <= SLOW_AT_MOST:
            checks["gradcheck, slow"] = torch_check(width, fast=False)
        times = interleaved(checks, chosen.rounds, least=0.0)
        order = ("kterm, torch", "gradcheck, slow", "gradcheck, fast", "kterm, jax", "check_grads")
        shown = []
        for name in order:
            if name in times:
                accepted = checks[name]()
                shown.append(seconds_text(quartiles(times[name])[1]) + ("" if accepted else ", **rejected**"))
                if name == "check_grads" and not accepted:
                    again = "accepts" if jax_check(width, SMALL_STEP)() else "rejects"
                    notes.append(f" With a step of {SMALL_STEP:g} check_grads {again} them at width {width}.")
            else:
                shown.append("not run")
        rows.append((f"{width}", f"{DEPTH * (width * width + width)}", *shown))
    header = ("width", "parameters", "kterm (torch)", "gradcheck slow", "gradcheck fast", "kterm (jax)", "check_grads")
    body = f"""How long does it take to verify the gradients of one network? The network has depth {DEPTH},
{ACTIVATION}, biases, batch {BATCH} and float64, and everything runs on one thread. Times are medians of
{chosen.rounds} interleaved rounds after a warm-up.

The columns do not do equal work:

- Slow gradcheck compares every entry with a finite difference.
- Fast gradcheck and check_grads compare one random projection.
- kterm compares every entry of every z, x, k and gradient that the adapter shows with the rule. It also checks layout,
  descent and batch. It builds the framework's program each time, which with JAX includes compilation.

Each checker uses its default tolerances. **rejected** marks gradients that a checker rejected although they are right
by kterm's account.{"".join(notes)}

{table(header, rows)}

{circumstances("numpy", "torch", "jax")}
"""
    publish("gradient-checkers", "Time to verify one network's gradients", body, chosen.write)


if __name__ == "__main__":
    main()
