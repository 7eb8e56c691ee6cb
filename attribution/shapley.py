"""How much each source moved the answer, from what the model makes of the answer without it.

All numbers are integer micronats (1e-6 nats): rounded once, where a log-probability comes in, so that every
verifier computes the same from the receipt on any machine.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from math import factorial

EXACT_UP_TO = 4  # sources: 2^4 = 16 scorings of the answer; beyond that n + 2

EXACT_SHAPLEY = "exact-shapley"
LEAVE_ONE_OUT = "leave-one-out"
NOTHING_TO_COMPARE = "none"  # no sources, or no answer: nothing was scored

Coalition = frozenset[int]


def method_for(sources: int) -> str:
    """The method is decided by the number of sources alone."""
    if sources == 0:
        return NOTHING_TO_COMPARE
    return EXACT_SHAPLEY if sources <= EXACT_UP_TO else LEAVE_ONE_OUT


def coalitions_for(method: str, sources: int) -> list[Coalition]:
    """The sets of kept sources that a method scores; the empty one first, the full one last.
    Raises: ValueError for an unknown method or an exact one over too many sources."""
    everyone = range(sources)
    if method == NOTHING_TO_COMPARE:
        return []
    if method == EXACT_SHAPLEY and sources <= EXACT_UP_TO:
        return [frozenset(kept) for size in range(sources + 1) for kept in combinations(everyone, size)]
    if method == LEAVE_ONE_OUT:
        return [frozenset(), *(frozenset(everyone) - {left_out} for left_out in everyone), frozenset(everyone)]
    raise ValueError(f"no method {method!r} over {sources} sources")


def influences(method: str, sources: int, log_prob: Mapping[Coalition, int]) -> list[int]:
    """Each source's influence on the answer, micronats, rounded half to even.

    Args:
        log_prob: coalition → ln P(answer | kept sources), micronats; exactly `coalitions_for(method, sources)`.
    Returns:
        [sources]; for exact Shapley they sum, up to rounding, to ln P(all) - ln P(none).
    Raises: ValueError when the coalitions are not the method's.
    Source: L. S. Shapley, A value for n-person games, 1953.
    """
    wanted = coalitions_for(method, sources)
    if len(log_prob) != len(set(wanted)) or any(coalition not in log_prob for coalition in wanted):
        raise ValueError(f"{method} over {sources} sources needs other coalitions than those given")
    if method == NOTHING_TO_COMPARE:
        return [0] * sources
    everyone = frozenset(range(sources))
    if method == LEAVE_ONE_OUT:
        return [log_prob[everyone] - log_prob[everyone - {source}] for source in range(sources)]
    return [_shapley(source, sources, log_prob) for source in range(sources)]


def efficiency_gap(log_prob: Mapping[Coalition, int], influence: Sequence[int]) -> int:
    """What the influences leave unexplained, micronats: ln P(all) - ln P(none) less their sum. It is how good an
    attribution is in one number: 0 up to rounding for exact Shapley values, and what leave-one-out counts twice or
    misses where sources say the same."""
    if not log_prob:
        return 0
    return log_prob[frozenset(range(len(influence)))] - log_prob[frozenset()] - sum(influence)


def _shapley(source: int, sources: int, log_prob: Mapping[Coalition, int]) -> int:
    total = Fraction(0)
    for kept, value in log_prob.items():
        if source not in kept:
            weight = Fraction(factorial(len(kept)) * factorial(sources - len(kept) - 1), factorial(sources))
            total += weight * (log_prob[kept | {source}] - value)
    return round(total)
