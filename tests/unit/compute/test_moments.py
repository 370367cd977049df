from decimal import Decimal

import pytest

from carina.compute.moments import digits, of, pool, std
from carina.federation import wire
from carina.model.job import Moments


def test_the_moments_of_some_values_are_their_number_mean_and_squared_differences() -> None:
    assert of("CT", [2.0, 4.0, 9.0]) == Moments("CT", 3, Decimal(5), Decimal(26))


def test_one_value_has_no_spread() -> None:
    assert of("MR", [0.5]) == Moments("MR", 1, Decimal("0.5"), Decimal(0))
    assert std(of("MR", [0.5])) is None


def test_nearly_equal_values_keep_their_spread() -> None:
    assert of("CT", [1e9, 1e9 + 2**-20]).m2 == Decimal(2**-41)


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_without_finite_values_there_are_no_moments(values: list[float]) -> None:
    with pytest.raises(ValueError, match="value"):
        of("CT", values)


def test_pooling_two_parts_is_as_if_they_were_one() -> None:
    assert pool([of("CT", [2.0, 4.0]), of("CT", [9.0])]) == of("CT", [2.0, 4.0, 9.0])


@pytest.mark.parametrize("parts", [[], [of("CT", [1.0]), of("MR", [1.0])]])
def test_only_parts_of_one_group_are_pooled(parts: list[Moments]) -> None:
    with pytest.raises(ValueError, match="one group"):
        pool(parts)


def test_the_standard_deviation_is_the_sample_s() -> None:
    assert std(of("CT", [2.0, 4.0, 9.0, 9.0])) == Decimal("3.559026084010437070270507988531904")
    assert std(of("CT", [5.0, 9.0, 1.0])) == Decimal(4)


@pytest.mark.parametrize("value", ["0", "1", "-3", "1E-30", "0.000001234567890123456789012345678901234", "1E+300"])
def test_any_mean_has_a_form_that_messages_take_and_give_back(value: str) -> None:
    text = digits(Decimal(value))
    moments = wire.read(wire.Moments, {"group": "CT", "n": 1, "mean": text, "m2": "0E+0"})
    assert Decimal(moments.mean) == Decimal(value)
