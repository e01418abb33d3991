"""The upper limit of a rate of false alarms."""

CONFIDENCE = 0.95


def compute_upper_limit(found: int, of: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided upper confidence limit of a rate, where `found` of `of` were seen (Clopper and Pearson, exact)."""
    from scipy.stats import beta  # takes half a second to import

    return 1.0 if found >= of else float(beta.ppf(confidence, found + 1, of - found))
