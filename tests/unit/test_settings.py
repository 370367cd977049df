"""Settings that would do harm later stop the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from carina.errors import BadSettings
from carina.settings import load_hub, load_node

NODE = f'id = "n-{"a" * 26}"\ntitle = "N"\ninstitution = "I"\ncountry = "ES"\nkeys = "env:K"\n'
HUB = f'id = "h-{"a" * 26}"\ntitle = "H"\nkeys = "env:K"\n'
BAD = [
    "https://[",
    "https://x:99999",
    "https://a@b",
    "https://*",
    "https://x/?y",
    "https://x#y",
    "https://x;y",
    "x.org",
]


@pytest.mark.parametrize("key", ["public_url", "console_url"])
@pytest.mark.parametrize("url", BAD)
def test_a_node_does_not_start_with_an_address_that_is_none(tmp_path: Path, key: str, url: str) -> None:
    (tmp_path / "node.toml").write_text(f'{key} = "{url}"\n{NODE}')
    with pytest.raises(BadSettings, match=key):
        load_node(tmp_path)


@pytest.mark.parametrize("url", BAD)
def test_a_hub_does_not_start_with_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    (tmp_path / "hub.toml").write_text(f'public_url = "{url}"\n{HUB}')
    with pytest.raises(BadSettings, match="public_url"):
        load_hub(tmp_path)


def test_plain_addresses_are_taken(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(
        f'public_url = "https://images.example.org"\nconsole_url = "http://n:1"\n{NODE}'
    )
    (tmp_path / "hub.toml").write_text(f'public_url = "https://hub.example.org:8443/"\n{HUB}')
    assert load_node(tmp_path).public_url == "https://images.example.org"
    assert load_hub(tmp_path).public_url == "https://hub.example.org:8443/"
