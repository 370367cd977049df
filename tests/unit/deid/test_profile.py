"""Profiles: what may be chosen, what an error says, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from carina.cli.deid_profile import profile as command
from carina.deid.profile import BUILT_IN, FULL_DATES, OFFERED, Profile, load_profile, profile_of
from carina.deid.rules import table
from carina.errors import BadSettings

TOML = 'name = "ours"\noptions = [\n  "clean_descriptors",\n  "retain_uids",\n]\nreview = "two"\n'


def error_of(toml: str) -> BadSettings:
    with pytest.raises(BadSettings) as caught:
        load_profile(toml)
    return caught.value


def test_a_toml_text_gives_a_profile_with_its_options_in_order() -> None:
    assert load_profile(TOML) == Profile("ours", ("clean_descriptors", "retain_uids"), "two")
    assert load_profile('name = "plain"') == Profile("plain", (), "never")


def test_the_built_in_profiles_are_known_by_name() -> None:
    assert load_profile("research") is BUILT_IN["research"]
    assert "clean_pixel_data" in BUILT_IN["research"].options
    assert set(BUILT_IN["research"].options) <= set(OFFERED)
    assert all(list(item.options) == sorted(item.options) for item in BUILT_IN.values())


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (TOML.replace('"retain_uids"', '"retain_uid"'), 4),
        (TOML.replace("clean_descriptors", FULL_DATES), 3),
        (TOML.replace('"two"', '"three"'), 6),
        (TOML + "colour = 1\n", 7),
        (TOML.replace('"retain_uids",', '"retain_uids"\n  "clean_graphics"'), 5),
        ('options = []\nname = ""\n', 2),
        ("options = []\nname = 7\n", 2),
        ('name = "a"\n\noptions = "all"\n', 3),
        ('name = "a"\noptions = [7]\n', 2),
    ],
)
def test_an_error_names_its_line(toml: str, line: int) -> None:
    assert f"line {line}:" in error_of(toml).message


def test_an_unknown_option_is_told_with_the_one_that_was_meant() -> None:
    assert "retain_uids" in error_of(TOML.replace('"retain_uids"', '"retain_uid"')).hint
    assert "retain_longitudinal_modified_dates" in error_of(TOML.replace("clean_descriptors", FULL_DATES)).hint


def test_an_unknown_name_lists_the_profiles() -> None:
    assert "basic, research" in error_of("everything").hint


def test_the_digest_changes_with_all_that_changes_what_comes_out() -> None:
    one = Profile("a", ("clean_descriptors",))
    assert one.digest == Profile("b", ("clean_descriptors",)).digest
    assert len({one.digest, Profile("a", ()).digest, Profile("a", ("clean_descriptors",), "one").digest}) == 3


def test_a_profile_is_found_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(TOML, encoding="utf-8")
    assert profile_of(str(path)).name == "ours"
    assert profile_of("basic").name == "basic"
    with pytest.raises(BadSettings):
        profile_of(str(tmp_path / "none.toml"))


def test_showing_a_profile_prints_each_rule_with_its_reason() -> None:
    shown = CliRunner().invoke(command, ["show", "research"], catch_exceptions=False).output
    for words in ("Retain Longitudinal Modified Dates: C", "SIEMENS MR HEADER", "not listed: VR UR removed", "121022"):
        assert words in shown
    assert BUILT_IN["research"].digest in shown


def test_showing_as_json_has_every_row_and_the_edition() -> None:
    shown = json.loads(CliRunner().invoke(command, ["show", "basic", "--json"], catch_exceptions=False).output)
    parts = [rule["part"] for rule in shown["rules"]]
    assert parts.count("table") == len(table.ROWS)
    assert parts.count("content") == 214
    assert "private" not in parts
    assert shown["edition"] == table.EDITION
    assert all(rule["reason"] and rule["action"] for rule in shown["rules"])


def test_an_option_may_be_added_to_see_what_it_does() -> None:
    shown = CliRunner().invoke(command, ["show", "basic", "--option", "retain_safe_private", "--json"])
    assert any(rule["part"] == "private" for rule in json.loads(shown.output)["rules"])
    refused = CliRunner().invoke(command, ["show", "basic", "--option", "retain_everything"])
    assert isinstance(refused.exception, BadSettings)
