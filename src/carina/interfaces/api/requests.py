"""Reading requests to the API."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from starlette.requests import Request

from carina.errors import BadInput


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON object of the request's body, all of whose texts are Unicode, or `BadInput`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadInput("This takes JSON.", "Send the Content-Type application/json.")
    try:
        value = json.loads(await request.body())
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair cannot be: RFC 8259, section 8.2
    except (ValueError, RecursionError):
        raise BadInput("The body is no valid JSON.") from None
    if not isinstance(value, dict):
        raise BadInput("The body is no JSON object.")
    return value


def texts(value: dict[str, Any], names: Collection[str]) -> list[str]:
    """The texts of exactly these members, in order, or `BadInput`."""
    if set(value) != set(names) or not all(isinstance(value[name], str) for name in names):
        raise BadInput(f"The body must have these texts, and no others: {', '.join(names)}.")
    return [value[name] for name in names]


def no_parameters(request: Request) -> None:
    """Raise `BadInput` that names the parameters of an address that takes none."""
    given = ", ".join(f"'{name[:40]}'" for name in dict.fromkeys(request.query_params))
    if given:
        raise BadInput(f"Not known here: {given}.", "Remove it from the address.")
