"""What a client asks for only in part, or only if it has changed: RFC 9110 sections 13 and 14.

Entity tags are strong: the same tag, the same bytes. They are made of what decides on the bytes, so that no answer has
to be made to be compared.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

from starlette.datastructures import Headers

_RANGE = re.compile(r"bytes\s*=\s*(?:(\d{1,18})\s*-\s*(\d{1,18})?|-\s*(\d{1,18}))\s*")
_TAG = re.compile(r'\s*(W/)?("[^"]*")\s*(?:,|$)')
_MADE_BY = version("carina")  # what is decoded, drawn or written here may differ in another version


@dataclass(frozen=True)
class Reply:
    """How to answer: 200 with everything, 206 with the bytes from `first` on to before `end`, or 304, 412, 416."""

    status: int
    first: int = 0
    end: int = 0


def tag_of(parts: Iterable[object]) -> str:
    """The entity tag of what these decide on: contents by their digests, form, addresses that it holds."""
    digest = hashlib.sha256(_MADE_BY.encode())
    for part in parts:
        digest.update(b"\0" + str(part).encode())
    return f'"{digest.hexdigest()[:32]}"'


def boundary_of(tag: str) -> str:
    """The boundary of an answer in parts, the same for the same tag; no image holds it, since it is made of it."""
    return f"carina-{tag.strip(chr(34))}"


def unchanged(headers: Headers, tag: str) -> Reply | None:
    """The answer to a request that needs none of the content; None for others."""
    wanted = headers.get("if-match")
    if wanted is not None and wanted.strip() != "*" and tag not in _tags(wanted, weak=False):
        return Reply(412)
    known = headers.get("if-none-match")
    if known is not None and (known.strip() == "*" or tag in _tags(known, weak=True)):
        return Reply(304)
    return None


def judge(headers: Headers, tag: str, size: int) -> Reply:
    """The answer to a request for something of `size` bytes. Several ranges at once are answered with everything."""
    settled = unchanged(headers, tag)
    if settled is not None:
        return settled
    asked = _RANGE.fullmatch(headers.get("range", ""))
    holds = headers.get("if-range")
    if asked is None or (holds is not None and holds.strip() != tag):
        return Reply(200, 0, size)
    first, last, tail = asked.groups()
    if tail is not None:
        start, end = max(0, size - int(tail)), size
    else:
        start, end = int(first), size if last is None else min(int(last) + 1, size)
        if last is not None and int(last) < start:
            return Reply(200, 0, size)  # no range that has a meaning, so none
    return Reply(206, start, end) if start < end else Reply(416)


def _tags(text: str, *, weak: bool) -> set[str]:
    """The entity tags of a list; without `weak`, the strong ones only."""
    return {match[2] for match in _TAG.finditer(text) if weak or not match[1]}
