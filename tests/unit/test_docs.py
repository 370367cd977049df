"""Nothing that a user can meet is undocumented."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from carina import settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference() -> dict[str, object]:
    return runpy.run_path(str(ROOT / "scripts" / "make_reference.py"))


def test_the_reference_is_what_the_code_says(reference: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["make_reference.py", "--check"])
    assert reference["main"]() == 0  # type: ignore[operator]


@pytest.mark.parametrize(
    "model",
    [
        settings.NodeSettings,
        settings.HubSettings,
        settings.Listen,
        settings.Dimse,
        settings.ProjectSettings,
        settings.SourceSettings,
        settings.InstrumentSettings,
        settings.PixelSettings,
        settings.DeidSettings,
    ],
)
def test_every_setting_has_a_meaning_in_the_reference(model: type[BaseModel], reference: dict[str, object]) -> None:
    meanings = reference["_meanings"](model)  # type: ignore[operator]
    assert [name for name in model.model_fields if name not in meanings] == []


def test_every_dependency_has_a_sentence_of_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {
        re.split(r"[^A-Za-z0-9_-]", line, maxsplit=1)[0]
        for group in [project["dependencies"], *project["optional-dependencies"].values()]
        for line in group
    } - {"carina"}
    reasons = (ROOT / "docs" / "decisions" / "dependencies.md").read_text(encoding="utf-8")
    assert sorted(name for name in wanted if f"`{name}`" not in reasons) == []


def test_requirement_files_are_hashed_and_name_no_index() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text, path.name
        assert not re.search(r"index-url|find-links|trusted-host|https?://|file:", text), path.name


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} → {target}")
    assert broken == []


def test_every_seam_is_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    seams = [name for text in sources for name in re.findall(r"^class (\w+)\(Protocol", text, re.MULTILINE)]
    assert seams
    assert [name for name in seams if f"`{name}`" not in page] == []
