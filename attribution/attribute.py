"""Who influenced an answer: one call hides the ablations, the scoring and the split into shares."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite

from attribution.shapley import Coalition, coalitions_for, efficiency_gap, influences, method_for
from attribution.shares import MICRONATS, NOBODY, explained, split_shares


@dataclass(frozen=True, slots=True)
class Source:
    """What one contributor gave to one prompt through one datanet."""

    contributor: str  # wallet
    datanet_id: int
    passages: tuple[int, ...]  # their numbers in the prompt


@dataclass(frozen=True, slots=True)
class Share:
    contributor: str  # wallet, or "nobody"
    datanet_id: int  # 0 for nobody
    share_bps: int


@dataclass(frozen=True, slots=True)
class ScoredCoalition:
    kept: tuple[int, ...]  # indices into the sources, ascending
    log_prob_micronats: int  # ln P(answer | kept), <= 0


@dataclass(frozen=True, slots=True)
class Attribution:
    """Everything the shares follow from, so that a receipt can carry it and anyone can compute it again."""

    method: str
    answer_tokens: int
    sources: tuple[Source, ...]
    coalitions: tuple[ScoredCoalition, ...]
    influence_micronats: tuple[int, ...]  # [n_sources]
    efficiency_gap_micronats: int  # the attribution's quality: what the influences leave unexplained
    shares: tuple[Share, ...]  # [n_sources + 1]; the last is nobody's; they sum to 10,000

    def shares_by_contributor(self) -> dict[str, int]:
        """Wallet or "nobody" → basis points over all datanets, sum 10,000."""
        totals: dict[str, int] = {}
        for share in self.shares:
            totals[share.contributor] = totals.get(share.contributor, 0) + share.share_bps
        return totals


LogProb = Callable[[Sequence[Coalition]], Awaitable[list[float]]]


async def attribute(sources: Sequence[Source], log_prob: LogProb, answer_tokens: int) -> Attribution:
    """Attribute one answer to its sources.

    Up to four sources get exact Shapley values over ln P(answer), more get leave-one-out; all coalitions are
    scored in one call so that the model can batch them. Without a source or an answer token nothing is scored.

    Args:
        sources: at most one for each (contributor, datanet).
        log_prob: coalitions of kept source indices → [n_coalitions] ln P(answer | kept), nats, summed over
            the answer's tokens, <= 0.
        answer_tokens: tokens in the answer.
    Raises: ValueError naming a log-probability that is NaN, infinite or positive, or a wrong count of them;
        ValueError when a source is named twice.
    """
    method = method_for(len(sources) if answer_tokens else 0)
    coalitions = coalitions_for(method, len(sources))
    scored = await log_prob(coalitions) if coalitions else []
    if len(scored) != len(coalitions):
        raise ValueError(f"{len(coalitions)} coalitions were to be scored, {len(scored)} log-probabilities came back")
    micronats = {kept: _micronats(kept, value) for kept, value in zip(coalitions, scored, strict=True)}
    influence = influences(method, len(sources), micronats)
    part = explained(micronats[coalitions[-1]], micronats[coalitions[0]], answer_tokens) if coalitions else Fraction(0)
    bps = split_shares([(source.contributor, source.datanet_id) for source in sources], influence, part)
    shares = [Share(s.contributor, s.datanet_id, n) for s, n in zip(sources, bps, strict=False)]
    return Attribution(
        method=method,
        answer_tokens=answer_tokens,
        sources=tuple(sources),
        coalitions=tuple(ScoredCoalition(tuple(sorted(kept)), value) for kept, value in micronats.items()),
        influence_micronats=tuple(influence),
        efficiency_gap_micronats=efficiency_gap(micronats, influence),
        shares=(*shares, Share(NOBODY, 0, bps[-1])),
    )


def _micronats(kept: Coalition, nats: float) -> int:
    """Round first, judge after: a float may lie a rounding error above 0 without being wrong."""
    if not isfinite(nats):
        raise ValueError(f"ln P(answer) with sources {sorted(kept)} is {nats}")
    micronats = round(Fraction(nats) * MICRONATS)
    if micronats > 0:
        raise ValueError(f"ln P(answer) with sources {sorted(kept)} is {nats}, and no probability exceeds 1")
    return micronats
