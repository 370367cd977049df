"""Addresses of hubs and nodes, and the origins of their pages."""

from __future__ import annotations

import pytest

from carina.model.address import origin, web_address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://Hub.Example.org:443/x", "https://hub.example.org"),
        ("http://hub.example.org:80", "http://hub.example.org"),
        ("https://hub.example.org:80", "https://hub.example.org:80"),
        ("http://[0:0::1]:8700/carina/", "http://[::1]:8700"),
    ],
)
def test_an_origin_is_as_browsers_write_it(address: str, expected: str) -> None:
    assert web_address(address) == address
    assert origin(address) == expected


@pytest.mark.parametrize("text", ["", "https://[", "https://x:99999", "https://a@b", "https://x/?y", "https://*", "/x"])
def test_what_is_no_plain_web_address_has_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        origin(text)
    assert not text or text not in str(refused.value)
