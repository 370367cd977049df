"""What a page says after something was done; its address holds a word and a number, never a text."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from carina.interfaces.language import gettext as _
from carina.interfaces.web.words import plural


def done(request: Request, sentences: Mapping[str, str]) -> str:
    """Of `sentences`, the one for what was just done, from the address; empty for anything else."""
    count = request.query_params.get("count", "")
    images = plural(int(count), "image") if count.isdecimal() and len(count) < 10 else "Images"
    sentence = sentences.get(request.query_params.get("done", ""), "")
    return _(sentence).format(images=images) if sentence else ""


def back(path: str, word: str, count: int | None = None) -> Response:
    """Load the page after a form, so that loading it again does not send the form again."""
    words = {"done": word} | ({} if count is None else {"count": str(count)})
    return RedirectResponse(f"{path}?{urlencode(words)}", 303)
