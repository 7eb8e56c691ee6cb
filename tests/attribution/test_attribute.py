import math
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.attribute import Attribution, Source, attribute
from attribution.shapley import Coalition, coalitions_for, influences, method_for
from attribution.shares import BPS_TOTAL, explained, split_shares

ALICE, BOB = "0x" + "a" * 40, "0x" + "B" * 40


def sources(count: int) -> list[Source]:
    return [Source(f"0x{i:040x}", 1, (i + 1,)) for i in range(count)]


class Model:
    """A model whose ln P is the sum of what its sources add, and which remembers what it was asked."""

    def __init__(self, base: float, gains: Sequence[float]) -> None:
        self.base, self.gains = base, gains
        self.calls: list[list[Coalition]] = []

    async def __call__(self, coalitions: Sequence[Coalition]) -> list[float]:
        self.calls.append(list(coalitions))
        return [self.base + sum(self.gains[i] for i in kept) for kept in coalitions]


def bps(attribution: Attribution) -> list[int]:
    return [share.share_bps for share in attribution.shares]


async def test_a_source_that_adds_nothing_gets_nothing_and_twice_the_influence_twice_the_share() -> None:
    found = await attribute(sources(3), Model(-10.0, [6.0, 3.0, 0.0]), 5)
    assert found.influence_micronats == (6_000_000, 3_000_000, 0)
    one, two, three, nobody = bps(found)
    assert three == 0
    assert abs(one - 2 * two) <= 2
    assert one + two + three + nobody == BPS_TOTAL


async def test_nobody_keeps_what_the_model_would_have_said_anyway_and_what_stays_unexplained() -> None:
    found = await attribute(sources(1), Model(-10.0, [8.0]), 5)
    gain = math.exp(-2 / 5) - math.exp(-10 / 5)
    assert bps(found) == [round(BPS_TOTAL * gain), BPS_TOTAL - round(BPS_TOTAL * gain)]
    assert found.shares[-1].contributor == "nobody"
    assert found.shares[-1].datanet_id == 0


async def test_up_to_four_sources_are_scored_exactly_and_in_one_call() -> None:
    for count in (1, 2, 3, 4):
        model = Model(-9.0, [1.0] * count)
        found = await attribute(sources(count), model, 3)
        assert found.method == "exact-shapley"
        assert [len(call) for call in model.calls] == [2**count]


async def test_five_and_more_are_scored_by_leaving_each_out_in_one_call() -> None:
    model = Model(-9.0, [1.0, 0.5, 0.25, 2.0, 0.0])
    found = await attribute(sources(5), model, 3)
    assert found.method == "leave-one-out"
    assert [len(call) for call in model.calls] == [7]
    assert found.influence_micronats == (1_000_000, 500_000, 250_000, 2_000_000, 0)


async def test_sources_that_say_the_same_share_exactly_what_leaving_one_out_would_miss() -> None:
    async def either(coalitions: Sequence[Coalition]) -> list[float]:
        return [-1.0 if kept else -5.0 for kept in coalitions]

    found = await attribute(sources(2), either, 4)
    assert found.influence_micronats == (2_000_000, 2_000_000)


async def test_without_a_source_or_a_token_all_is_nobodys_and_the_model_is_not_asked() -> None:
    for given_sources, tokens in (([], 5), (sources(2), 0), ([], 0)):
        model = Model(-5.0, [1.0, 1.0])
        found = await attribute(given_sources, model, tokens)
        assert bps(found) == [0] * len(given_sources) + [BPS_TOTAL]
        assert (found.method, found.coalitions, model.calls) == ("none", (), [])


async def test_sources_that_only_harm_get_nothing() -> None:
    assert bps(await attribute(sources(2), Model(-1.0, [-2.0, -1.0]), 4)) == [0, 0, BPS_TOTAL]


@pytest.mark.parametrize(
    ("bad", "named"), [(math.nan, "nan"), (-math.inf, "-inf"), (math.inf, "inf"), (0.5, "0.5")], ids=str
)
async def test_a_log_probability_that_is_none_is_named(bad: float, named: str) -> None:
    async def log_prob(coalitions: Sequence[Coalition]) -> list[float]:
        return [-1.0, bad, -1.0, -1.0]

    with pytest.raises(ValueError, match=rf"sources \[0\] is {named}"):
        await attribute(sources(2), log_prob, 3)


async def test_a_rounding_error_above_zero_is_no_positive_log_probability() -> None:
    found = await attribute(sources(1), Model(-1.0, [1.0 + 1e-9]), 3)
    assert found.coalitions[-1].log_prob_micronats == 0


async def test_too_few_log_probabilities_are_refused() -> None:
    async def log_prob(coalitions: Sequence[Coalition]) -> list[float]:
        return [-1.0]

    with pytest.raises(ValueError, match="4 coalitions were to be scored, 1"):
        await attribute(sources(2), log_prob, 3)


async def test_a_contributor_with_two_datanets_is_two_sources_and_one_line_in_the_sum() -> None:
    twice = [Source(ALICE, 1, (1,)), Source(ALICE, 2, (2,)), Source(BOB, 1, (3,))]
    found = await attribute(twice, Model(-9.0, [3.0, 2.0, 1.0]), 4)
    total = found.shares_by_contributor()
    assert set(total) == {ALICE, BOB, "nobody"}
    assert total[ALICE] == bps(found)[0] + bps(found)[1]
    assert sum(total.values()) == BPS_TOTAL


async def test_a_source_named_twice_is_refused_whatever_its_letter_case() -> None:
    with pytest.raises(ValueError, match="named twice"):
        await attribute(
            [Source(ALICE, 1, (1,)), Source(ALICE.upper().replace("X", "x"), 1, (2,))], Model(-9, [1, 1]), 4
        )


micronats = st.integers(-40_000_000, 0)


@given(st.integers(1, 4).flatmap(lambda n: st.tuples(st.just(n), st.lists(micronats, min_size=2**n, max_size=2**n))))
def test_exact_influences_sum_to_what_all_sources_together_add(case: tuple[int, list[int]]) -> None:
    count, values = case
    coalitions = coalitions_for("exact-shapley", count)
    found = influences("exact-shapley", count, dict(zip(coalitions, values, strict=True)))
    assert abs(sum(found) - (values[-1] - values[0])) <= count


@given(
    st.lists(st.integers(-(10**9), 10**9), max_size=9),
    st.fractions(0, 1, max_denominator=10**12),
    st.randoms(use_true_random=False),
)
def test_shares_are_whole_sum_to_ten_thousand_and_do_not_depend_on_order(
    influence: list[int], part: Fraction, random: object
) -> None:
    keys = [(f"0x{i:040x}", i % 3) for i in range(len(influence))]
    shares = split_shares(keys, influence, part)
    assert sum(shares) == BPS_TOTAL
    assert all(share >= 0 for share in shares)
    assert all(share == 0 for share, value in zip(shares, influence, strict=False) if value <= 0)
    backwards = split_shares(keys[::-1], influence[::-1], part)
    assert backwards == [*shares[:-1][::-1], shares[-1]]
    positive = sum(max(0, value) for value in influence)
    for share, value in zip(shares, influence, strict=False):
        assert positive == 0 or abs(share - BPS_TOTAL * part * Fraction(max(0, value), positive)) < 1


def test_a_tie_goes_to_the_lower_wallet_then_the_lower_datanet_then_nobody() -> None:
    assert split_shares([("0xb", 1), ("0xA", 2), ("0xa", 1)], [1, 1, 1], Fraction(1)) == [3333, 3333, 3334, 0]
    assert split_shares([("0xb", 1)], [1], Fraction(1, 20_000)) == [1, 9_999]


@given(micronats, micronats, st.integers(1, 600))
def test_the_explained_part_is_within_bounds_and_near_what_floats_say(
    everything: int, nothing: int, tokens: int
) -> None:
    part = explained(everything, nothing, tokens)
    gain = math.exp(everything / 1e6 / tokens) - math.exp(nothing / 1e6 / tokens)
    assert 0 <= part <= 1
    assert float(part) == pytest.approx(min(1, max(0, gain)), abs=1e-12)


def test_the_explained_part_of_an_impossible_answer_is_nothing_and_costs_nothing() -> None:
    assert explained(-(2**63), -(2**63), 1) == 0
    for everything, tokens in ((1, 5), (-1, 0), (-1, -3)):
        with pytest.raises(ValueError, match=r"log-probability|one token"):
            explained(everything, -5, tokens)


def test_split_shares_refuses_what_cannot_be_split() -> None:
    for keys, influence, part in (
        ([("0xa", 1)], [1, 2], Fraction(1)),
        ([("0xa", 1), ("0xA", 1)], [1, 2], Fraction(1)),
        ([("0xa", 1)], [1], Fraction(3, 2)),
    ):
        with pytest.raises(ValueError, match=r"influences|twice|between 0 and 1"):
            split_shares(keys, influence, part)


def test_a_method_takes_its_own_coalitions_only() -> None:
    assert [method_for(n) for n in (0, 1, 4, 5)] == ["none", "exact-shapley", "exact-shapley", "leave-one-out"]
    with pytest.raises(ValueError, match="other coalitions"):
        influences("exact-shapley", 2, {frozenset(): -1, frozenset({0}): -1})
    for method, count in (("exact-shapley", 5), ("guessing", 2)):
        with pytest.raises(ValueError, match="no method"):
            coalitions_for(method, count)
