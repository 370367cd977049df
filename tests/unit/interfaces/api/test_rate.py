"""How often one caller may ask."""

from __future__ import annotations

import pytest

from carina.errors import TooMany
from carina.interfaces.api import rate
from carina.interfaces.api.rate import RateLimit


def test_a_caller_is_stopped_until_its_window_has_passed() -> None:
    limit = RateLimit(times=2, seconds=60)
    limit.spend("a", at=0)
    limit.spend("a", at=30)
    with pytest.raises(TooMany):
        limit.spend("a", at=59)
    limit.spend("a", at=60)
    with pytest.raises(TooMany):
        limit.spend("a", at=89)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_addresses_that_one_machine_may_have_count_as_one(address: str, counted: str) -> None:
    assert rate.network_of(address) == counted


def test_callers_do_not_spend_each_others_share() -> None:
    limit = RateLimit(times=1, seconds=60)
    limit.spend("a", at=0)
    limit.spend("b", at=0)
    with pytest.raises(TooMany):
        limit.spend("a", at=1)


def test_memory_is_bounded_however_many_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "CALLERS", 3)
    limit = RateLimit(times=1, seconds=60)
    for caller in "abcd":
        limit.spend(caller, at=0)
    assert list(limit._spent) == ["b", "c", "d"]
