"""Number, mean and M2 of values that rest in several places, without any loss that shows.

Means and sums of squares are computed in fractions, exactly, and rounded once, to 34 digits. That is what lets any
split of the values over nodes give what all of them give together. Parts are combined as in Chan, Golub and LeVeque
1983; docs/reference/signal-statistics.md says more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from carina.model.job import Moments

DIGITS = 34
_CONTEXT = Context(prec=DIGITS, rounding=ROUND_HALF_EVEN, Emin=-6143, Emax=6144)  # decimal128, IEEE 754-2008


def of(group: str, values: Iterable[float]) -> Moments:
    """The moments of a group's finite values. Raises `ValueError` for none, infinite ones or NaN.

    >>> of("CT", [1.0, 2.0, 3.0])
    Moments(group='CT', n=3, mean=Decimal('2'), m2=Decimal('2'))
    """
    try:
        exact = [Fraction(value) for value in values]
    except (OverflowError, ValueError) as error:
        raise ValueError("a value is not finite") from error
    if not exact:
        raise ValueError("no values")
    total = sum(exact, Fraction(0))
    squares = sum((value * value for value in exact), Fraction(0))
    return _rounded(group, len(exact), total / len(exact), squares - total * total / len(exact))


def pool(parts: Sequence[Moments]) -> Moments:
    """The moments of all values of which each part is of some; parts are of one group and have no value in common.

    Raises `ValueError` for no parts or several groups.
    """
    if len({part.group for part in parts}) != 1:
        raise ValueError("moments of one group are pooled")
    n = sum(part.n for part in parts)
    mean = sum((part.n * Fraction(part.mean) for part in parts), Fraction(0)) / n
    within = sum((Fraction(part.m2) for part in parts), Fraction(0))
    between = sum((part.n * (Fraction(part.mean) - mean) ** 2 for part in parts), Fraction(0))
    return _rounded(parts[0].group, n, mean, within + between)


def std(moments: Moments) -> Decimal | None:
    """The sample standard deviation, √(M2 / (n - 1)); None of a single value."""
    if moments.n < 2:
        return None
    return _CONTEXT.sqrt(_CONTEXT.divide(moments.m2, Decimal(moments.n - 1)))


def digits(number: Decimal) -> str:
    """A mean or M2 as text, exactly, one digit before the point: `wire.Decimal128`.

    >>> digits(Decimal("0.00000012"))
    '1.2E-7'
    """
    return f"{_CONTEXT.normalize(number):E}"


def read(group: str, n: int, mean: str, m2: str) -> Moments:
    """The moments whose mean and M2 `digits` has written."""
    return Moments(group, n, Decimal(mean), Decimal(m2))


def _rounded(group: str, n: int, mean: Fraction, m2: Fraction) -> Moments:
    return Moments(group, n, _decimal(mean), _decimal(m2))


def _decimal(number: Fraction) -> Decimal:
    return _CONTEXT.normalize(_CONTEXT.divide(Decimal(number.numerator), Decimal(number.denominator)))
