"""How often a mean may be beyond its limit by chance, where a campaign is looked at again and again.

One look at a mean m with standard error s.e. is beyond a limit of t s.e. at a known rate, which t is chosen for.
Somebody who looks after every unit, and stops at the first finding, has many more false alarms: a sum of independent
errors crosses any fixed multiple of its standard error some day. So a limit that holds at every look has to grow,
slowly. docs/scale.md has the derivation.
"""

import math

from scipy import special

from ...checks.whole_run.verdicts import FAMILY_RATE

EPOCH = 1.1
"""The variance of a sum grows by this factor in an epoch. Larger ones make the limit wider within an epoch, smaller
ones make more epochs among which the rate is divided.
"""
MOST_MEANS = 2000
"""For how many means of an adapter the rate is divided. How many there are is seen only as a campaign grows, and an
earlier look must not have had a higher rate for it. The shipped adapters have up to 400.
"""
_TOTAL = math.pi**2 / 3 - 1
"""The sum of 1/(|j| + 1)² over all integers j."""


def rate_at_any_time(means: int, variance: float) -> float:
    """The rate at which one look may judge one of so many means of an adapter, so that the looks at all of them, at all
    times together, have a false alarm at the rate `FAMILY_RATE` at most. `variance` is that of the sum, in σ².
    """
    epoch = 0 if variance == 0 or math.isinf(variance) else math.floor(math.log(variance, EPOCH))
    share = FAMILY_RATE / max(means, MOST_MEANS) / _TOTAL / (abs(epoch) + 1) ** 2
    # Two sides, and Lévy's inequality: a sum crosses a limit within an epoch at most twice as often as at its end.
    normal = -float(special.ndtri(share / 4))
    # The standard error at the start of an epoch is smaller than at its end; and the rest of an epoch may have a median
    # that is not 0.
    wide = math.sqrt(EPOCH) * normal + math.sqrt(EPOCH - 1)
    return 2 * float(special.ndtr(-wide))
