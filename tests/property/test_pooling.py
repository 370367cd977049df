"""Any split of values over nodes gives the mean and spread of all of them."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from carina.compute import moments
from carina.federation import wire
from carina.model.job import Moments

RELATIVE = Fraction(1, 10**12)

anything = st.floats(min_value=0, max_value=1e150, allow_subnormal=False)
wide = st.integers(-150, 150).flatmap(lambda power: st.floats(0.1, 1).map(lambda value: value * 10.0**power))
nearly_equal = st.integers(0, 3).map(lambda steps: 1e8 * (1 + steps * math.ulp(1.0)))
ratios = st.floats(0.1, 1000)
values = st.one_of(*(st.lists(kind, min_size=1, max_size=60) for kind in (anything, wide, nearly_equal, ratios)))


@st.composite
def splits(draw: st.DrawFn) -> tuple[list[float], list[list[float]]]:
    """Values, and the same divided over up to eight nodes, of which some may have none."""
    drawn = draw(values)
    parts: list[list[float]] = [[] for _ in range(draw(st.integers(1, 8)))]
    for value in drawn:
        draw(st.sampled_from(parts)).append(value)
    return drawn, parts


def sent(part: list[float]) -> Moments:
    """A part's moments, as they arrive at the hub."""
    made = moments.of("CT", part)
    words = {"group": "CT", "n": made.n, "mean": moments.digits(made.mean), "m2": moments.digits(made.m2)}
    read = wire.read(wire.Moments, words)
    return Moments(read.group, read.n, Decimal(read.mean), Decimal(read.m2))


def close(found: Decimal, expected: Fraction) -> bool:
    return abs(Fraction(found) - expected) <= RELATIVE * abs(expected)


@given(splits())
def test_any_split_over_nodes_pools_to_the_moments_of_all_values(split: tuple[list[float], list[list[float]]]) -> None:
    drawn, parts = split
    pooled = moments.pool([sent(part) for part in parts if part])
    exact = [Fraction(value) for value in drawn]
    mean = sum(exact) / len(exact)
    assert pooled.n == len(drawn)
    assert close(pooled.mean, mean)
    assert close(pooled.m2, sum((value - mean) ** 2 for value in exact) + Fraction(0))


@given(splits())
def test_the_order_of_the_nodes_does_not_matter(split: tuple[list[float], list[list[float]]]) -> None:
    parts = [sent(part) for part in split[1] if part]
    assert moments.pool(parts) == moments.pool(parts[::-1])


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40), st.integers(1, 39))
def test_values_of_both_signs_pool_within_the_size_of_the_largest(drawn: list[float], at: int) -> None:
    parts = [part for part in (drawn[:at], drawn[at:]) if part]
    pooled = moments.pool([sent(part) for part in parts])
    exact = [Fraction(value) for value in drawn]
    mean = sum(exact) / len(exact)
    largest = max(abs(value) for value in exact)
    assert abs(Fraction(pooled.mean) - mean) <= RELATIVE * largest
    assert close(pooled.m2, sum((value - mean) ** 2 for value in exact) + Fraction(0))
