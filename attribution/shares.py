"""From influence to shares: integers in basis points that sum to 10,000, the same for every verifier."""

from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction

BPS_TOTAL = 10_000  # 1 basis point = 0.01 %. On chain a share is a uint16, never a float.
NOBODY = "nobody"
MICRONATS = 1_000_000

# Decimal.exp is correctly rounded, so 40 digits are the same 40 digits everywhere; binary floats promise no such thing.
_EXACT = Context(prec=40, Emin=-999_999, Emax=999_999, traps=[])
_PLACES = Decimal("1e-30")  # an improbable answer is 0, not a fraction with a million digits

SourceKey = tuple[str, int]  # contributor's wallet, datanet id


def explained(all_micronats: int, none_micronats: int, answer_tokens: int) -> Fraction:
    """The part of the answer that the sources explain: v(all) - v(none), clipped to 0..1, where
    v = exp(ln P(answer) / answer_tokens) is the probability the model gives a token of the answer (geometric mean).

    Raises: ValueError when answer_tokens < 1 or a log-probability is positive."""
    if answer_tokens < 1:
        raise ValueError(f"an answer has at least one token, not {answer_tokens}")
    gain = _per_token(all_micronats, answer_tokens) - _per_token(none_micronats, answer_tokens)
    return max(Fraction(0), min(Fraction(1), gain))


def split_shares(sources: Sequence[SourceKey], influence_micronats: Sequence[int], part: Fraction) -> list[int]:
    """Split BPS_TOTAL: `part` of it between the sources in proportion to positive influence, the rest to nobody.

    Largest-remainder rule; a tie goes to the lower (wallet, datanet), and to nobody last.

    Args:
        sources: distinct keys; a wallet's letter case does not matter.
        influence_micronats: [n_sources].
        part: 0..1, from `explained`.
    Returns:
        [n_sources + 1] basis points summing to BPS_TOTAL; the last is the share of nobody.
    Raises: ValueError when the lengths differ, a source is named twice or `part` is out of range.
    """
    keys = [(wallet.lower(), datanet) for wallet, datanet in sources]
    if len(keys) != len(influence_micronats):
        raise ValueError(f"{len(keys)} sources but {len(influence_micronats)} influences")
    if len(set(keys)) != len(keys):
        raise ValueError("a source is named twice")
    if not 0 <= part <= 1:
        raise ValueError(f"the explained part is {part}, not between 0 and 1")
    positive = [max(0, influence) for influence in influence_micronats]
    total = sum(positive)
    if total == 0:
        return [0] * len(keys) + [BPS_TOTAL]
    quotas = [BPS_TOTAL * part * Fraction(influence, total) for influence in positive]
    quotas.append(BPS_TOTAL * (1 - part))
    shares = [int(quota) for quota in quotas]
    last = len(keys)
    by_remainder = sorted(
        range(last + 1),
        key=lambda i: (shares[i] - quotas[i], i == last, keys[i] if i < last else ("", 0)),
    )
    for i in by_remainder[: BPS_TOTAL - sum(shares)]:
        shares[i] += 1
    return shares


def _per_token(micronats: int, answer_tokens: int) -> Fraction:
    if micronats > 0:
        raise ValueError(f"a log-probability is at most 0, not {micronats} micronats")
    exponent = _EXACT.divide(Decimal(micronats), Decimal(MICRONATS * answer_tokens))
    return Fraction(_EXACT.exp(exponent).quantize(_PLACES, context=_EXACT))
