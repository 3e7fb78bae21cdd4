"""What a number of seeds can show, and how many more it would take."""

from scipy import special

from eval.statistics.intervals import MeanDifference

_MOST_SEEDS = 1000


def detectable(difference: MeanDifference, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference, in points, that a test at `alpha` would show with this power, its errors as
    here."""
    lower, upper = difference.interval(1 - alpha)
    return float((upper - lower) / 2 + special.ndtri(power) * difference.error)


def seeds_needed(difference: MeanDifference, seeds: int, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """How many seeds would show a true difference as large as this one; None: no number of them, as the examples alone
    leave more doubt, or more than 1,000."""
    low, high = 2, _MOST_SEEDS
    if difference.value == 0 or not _shows(difference, seeds, high, alpha, power):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _shows(difference, seeds, middle, alpha, power) else (middle + 1, high)
    return low


def _shows(difference: MeanDifference, seeds: int, more_seeds: int, alpha: float, power: float) -> bool:
    return detectable(difference.with_seeds(more_seeds, seeds), alpha, power) <= abs(difference.value)
