"""`node.toml` as it is written: readable, valid, and in agreement with what settings say of themselves."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from carina.app.found import NewNode, found_node
from carina.app.settings_text import node_text, value_text
from carina.errors import BadInput
from carina.settings import NodeSettings, load_node

CHOSEN = {
    "id": f"n-{'a' * 26}",
    "title": "Hospital",
    "institution": "Hospital",
    "country": "ES",
    "keys": "env:KEYS",
    "projects": [{"id": "main", "title": 'A "quoted" title \\ with\ttabs'}],
}


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)


def test_what_is_written_is_what_was_chosen_and_all_else_has_its_default(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(node_text(CHOSEN))
    loaded = load_node(tmp_path)
    plain = NodeSettings(**{**CHOSEN, "projects": tuple(CHOSEN["projects"])})  # type: ignore[arg-type]
    assert loaded.model_dump() == plain.model_dump()


def test_each_setting_that_is_a_comment_is_valid_once_its_mark_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(uncommented(node_text({**CHOSEN, "dimse": {"port": 104}})))
    loaded = load_node(tmp_path)
    untouched = NodeSettings(**{**CHOSEN, "projects": tuple(CHOSEN["projects"])})  # type: ignore[arg-type]
    for name in ("workers", "largest_instance", "inside", "outside", "access", "jobs", "pixels", "deid", "logs"):
        assert getattr(loaded, name) == getattr(untouched, name), name
    assert loaded.archive.quiet == untouched.archive.quiet and loaded.dimse is not None and loaded.dimse.port == 104
    assert [len(rows) for rows in (loaded.projects, loaded.sources, loaded.peers, loaded.instruments)] == [1, 1, 1, 1]


def test_each_setting_stands_there_with_its_meaning_above_it() -> None:
    lines = node_text(CHOSEN).splitlines()
    for name in NodeSettings.model_fields:
        at = next(number for number, line in enumerate(lines) if re.match(rf"#?\[*{name}\b", line))
        assert lines[at - 1].startswith("# "), name


def test_a_text_is_written_so_that_toml_reads_it_again() -> None:
    for text in ('"', "\\", "a\nb", "Málaga", "#", "'''"):
        assert tomllib.loads(f"a = {value_text(text)}")["a"] == text


def test_a_founding_that_is_broken_off_leaves_nothing_behind(tmp_path: Path) -> None:
    new = NewNode("T", "T", "ES", manager=("ana", "short"))  # the last step fails: the password is too short
    with pytest.raises(BadInput, match="password"):
        found_node(tmp_path / "node", tmp_path / "keys" / "node.json", new)
    assert list(tmp_path.iterdir()) == []
