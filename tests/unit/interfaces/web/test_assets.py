"""Files of others: brought, checked, never taken on trust."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from carina.errors import BadSettings
from carina.interfaces.web.assets import ASSETS, STATIC, VENDOR, require_assets, wrong_assets


def test_the_files_of_the_set_up_are_those_we_tested() -> None:
    assert wrong_assets(VENDOR) == [], "run `make setup`"


def test_without_its_files_a_service_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as raised:
        require_assets(tmp_path)
    assert ASSETS[0].name in raised.value.message
    assert "make setup" in raised.value.hint


def test_a_file_with_other_bytes_is_named(tmp_path: Path) -> None:
    shutil.copytree(VENDOR, tmp_path, dirs_exist_ok=True)
    (tmp_path / ASSETS[0].name).write_bytes(b"alert(1)")
    assert wrong_assets(tmp_path) == [ASSETS[0].name]


def test_our_own_style_and_script_load_nothing_from_elsewhere() -> None:
    scripts = (STATIC / "carina.js", STATIC / "quicklook.js", *(STATIC / "look").glob("*.js"))
    for path in (STATIC / "carina.css", *scripts):
        text = path.read_text(encoding="utf-8")
        assert "http:" not in text
        assert "https:" not in text
        assert "@import" not in text
        assert "url(" not in text
