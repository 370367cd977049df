"""Studies and series as small tables, for a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carina.interfaces.client.archive import Archive, Series, Study


def archive_table(archive: Archive) -> str:
    """Where an archive is; its studies are asked for by `studies()` and not by looking at it."""
    rows = [("Dataset", archive.dataset), ("Node", archive.url), ("Open until", archive.expires)]
    body = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<table>{body}</table>"


def study_table(studies: Iterable[Study]) -> str:
    """A row for each study."""
    rows = [(each.patient, each.date, each.description, ", ".join(each.modalities), each.uid) for each in studies]
    return _table(("Patient", "Date", "Description", "Modalities", "Study"), rows)


def series_table(series: Iterable[Series]) -> str:
    """A row for each series."""
    rows = [
        ("" if each.number is None else str(each.number), each.modality, each.description, each.body_part,
         f"{each.size:,}", each.uid)
        for each in series
    ]  # fmt: skip
    return _table(("Number", "Modality", "Description", "Body part", "Instances", "Series"), rows)


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
