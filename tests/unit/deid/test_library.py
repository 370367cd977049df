"""`carina.deid` as a library: what it exports, its documented example, and what its errors say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pydicom
import pytest
from click.testing import CliRunner
from tests.support import ROOT, ct

import carina.deid
from carina.app.deid_report import read_report, write_report
from carina.cli.deid import deid
from carina.deid.profile import OFFERED, load_profile, profile_of
from carina.deid.pseudonyms import ProjectKeys
from carina.errors import BadSettings, CarinaError, InvalidInstance, InvalidMessage, NotDicom, Withheld
from carina.model.ids import ProjectId

GUIDE = (ROOT / "docs" / "how-to" / "deidentify.md").read_text(encoding="utf-8")
KEY = "0123456789abcdef" * 4


def block(language: str) -> str:
    """The guide's first block of code in this language."""
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("name", carina.deid.__all__)
def test_each_name_that_is_exported_is_there(name: str) -> None:
    assert getattr(carina.deid, name).__name__ == name


def test_no_other_name_is_exported() -> None:
    assert set(carina.deid._ROOMS) == set(carina.deid.__all__)
    with pytest.raises(AttributeError):
        _ = carina.deid.nothing


def test_the_guides_example_gives_what_the_command_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(ct())
    (tmp_path / "lung.key").write_text(KEY + "\n")
    example: dict[str, Any] = {}
    exec(block("python"), example)
    (made,) = (tmp_path / "out").iterdir()
    done = CliRunner().invoke(deid, ["in", "tool", "--key-file", "lung.key", "--no-sample"], catch_exceptions=False)
    assert done.exit_code == 0
    (other,) = (tmp_path / "tool").rglob("*.dcm")
    assert (other.name, other.parents[2].name) == (made.name, str(pydicom.dcmread(made).PatientID))
    assert pydicom.dcmread(made).BurnedInAnnotation == "NO"


def test_the_guides_profile_is_one_and_its_table_has_every_option() -> None:
    assert load_profile(block("toml")).review == "one"
    assert set(re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)) >= set(OFFERED)


@pytest.mark.parametrize("master", [b"", b"k" * 31])
def test_a_short_master_makes_no_keys(master: bytes) -> None:
    with pytest.raises(BadSettings, match="less than 32 bytes"):
        ProjectKeys.of(master, ProjectId("lung"))


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: a profile has a name"),
        (b"research", "line 1: this is no TOML"),
        (b"name = 'a'\nneither key nor value\n", "line 2: this is no TOML"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
@pytest.mark.parametrize("name", ["q.toml", "q"])
def test_a_file_that_is_no_profile_is_told_by_its_line(tmp_path: Path, content: bytes, words: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadSettings, match=words) as caught:
        profile_of(str(tmp_path / name))
    assert "deidentify.md" in caught.value.hint


def test_a_profiles_file_needs_no_suffix_and_a_name_is_a_built_in_one_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("q", "basic"):
        (tmp_path / name).write_text('name = "mine"\n')
    assert profile_of("q").name == profile_of("./basic").name == "mine"
    assert profile_of("basic").name == "basic"


@pytest.mark.parametrize("name", ["reserch", "./research", "none.toml", "."])
def test_what_is_neither_name_nor_file_is_told_so(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSettings, match=r"no de-identification profile of this name|cannot be read") as caught:
        profile_of(name)
    assert "settings" not in caught.value.hint


def test_no_error_of_an_instance_speaks_of_a_quarantine_that_a_library_has_not() -> None:
    for error in (NotDicom("a"), InvalidInstance("a"), Withheld("damaged", "a")):
        assert "quarantine" not in error.hint


@pytest.mark.parametrize("content", [b"no DICOM at all", ct()[:-100]])
def test_showing_what_becomes_of_a_damaged_file_speaks_of_no_quarantine(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "a").write_bytes(content)
    done = CliRunner().invoke(deid, ["diff", str(tmp_path / "a"), "--key-file", str(tmp_path / "key")])
    assert isinstance(done.exception, CarinaError)
    assert "quarantine" not in f"{done.exception.message} {done.exception.hint}"


@pytest.mark.parametrize(
    ("old", "new", "key"), [('"a"', '"b"', None), ("", "", b"x" * 32), ('"x": "', '"x": "!', None)]
)
def test_a_report_that_is_not_as_it_was_signed_says_what_to_do(
    tmp_path: Path, old: str, new: str, key: bytes | None
) -> None:
    path = tmp_path / "report.json"
    write_report(path, {"form": "a"}, b"k" * 32)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InvalidMessage) as caught:
        read_report(path, key)
    assert "ask its maker" in caught.value.hint and "message" not in caught.value.message
