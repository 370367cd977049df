"""Images in which text was found, as JSON for data managers: what waits, what readers said, and saying it."""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.deid.pixels.findings import Box
from carina.errors import BadInput
from carina.interfaces.api.identity import Identity
from carina.interfaces.api.requests import json_object, no_parameters
from carina.model.principal import Role
from carina.node import review
from carina.node.review import Decision, Review, Verdict
from carina.node.site import Node

MANAGERS: frozenset[Role] = frozenset({"data-manager"})
MOST = 1_000  # images of one answer
_VERDICTS: dict[str, Verdict] = {"accept": "accept", "reject": "reject"}


def review_routes(node: Node, identity: Identity) -> list[Route]:
    """`/api/review` and what is below."""

    async def every(request: Request) -> Response:
        await identity.identify(request, MANAGERS)
        given = dict(request.query_params)
        project, after, limit = given.pop("project", ""), given.pop("after", ""), given.pop("limit", "100")
        if given or not limit.isdecimal() or len(limit) > 4 or not 0 < int(limit) <= MOST:
            raise BadInput("This is asked for with project, after and limit.", f"The limit is 1 to {MOST}.")
        found = await run_in_threadpool(review.flagged, node, project, int(limit), after)
        return JSONResponse([review_to_json(one) for one in found])

    async def one(request: Request) -> Response:
        await identity.identify(request, MANAGERS)
        no_parameters(request)
        return JSONResponse(review_to_json(await run_in_threadpool(review.get, node, request.path_params["id"])))

    async def decide(request: Request) -> Response:
        who = await identity.identify(request, MANAGERS)
        verdict, boxes, seen = _decision(await json_object(request))
        say = partial(review.decide, node, who.subject, request.path_params["id"], verdict, boxes, seen=seen)
        return JSONResponse({"outcome": await run_in_threadpool(say)})

    return [
        Route("/api/review", every, methods=["GET"]),
        Route("/api/review/{id}", one, methods=["GET"]),
        Route("/api/review/{id}", decide, methods=["POST"]),
    ]


def _decision(body: dict[str, Any]) -> tuple[Verdict, list[Box], int]:
    """`verdict`, the `boxes` that are to be blanked where it may pass, and how many decisions were `seen`."""
    verdict, boxes, seen = (body.get(name) for name in ("verdict", "boxes", "seen"))
    if set(body) - {"verdict", "boxes", "seen"} or verdict not in _VERDICTS or not _is_number(seen):
        raise BadInput(
            "A decision has a verdict, and how many decisions it has seen.", "The verdict is accept or reject."
        )
    if verdict == "reject" and boxes:
        raise BadInput("What may not pass has no boxes.", "Leave them out.")
    if verdict == "accept" and not isinstance(boxes, list):
        raise BadInput("What may pass has a list of boxes.", "An empty one says that there is no text in it.")
    return _VERDICTS[verdict], [_box(one) for one in boxes or []], int(seen or 0)


def _box(given: Any) -> Box:
    """A box as it is given: top, left, bottom, right in pixels, and a frame counted from 0, or null for all."""
    if not isinstance(given, list) or len(given) != 5 or not all(map(_is_number, given[:4])):
        raise BadInput("A box is [top, left, bottom, right, frame].", "The frame is null for all of them.")
    if given[4] is not None and not _is_number(given[4]):
        raise BadInput("A frame is a number from 0, or null for all of them.")
    return Box(*given)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def review_to_json(one: Review) -> dict[str, Any]:
    """One image. `proposed`: what the next reader is shown; `seen` belongs into the decision."""
    plain = ("id", "project", "received_at", "size", "modality", "sop_class_uid", "state", "rows", "columns", "frames",
             "finder", "proven", "readers")  # fmt: skip
    return {
        **{name: getattr(one, name) for name in plain},
        "source": str(one.source),
        "boxes": [_listed(box) for box in one.boxes],
        "proposed": [_listed(box) for box in one.proposed],
        "decisions": [_told(decision) for decision in one.decisions],
        "seen": len(one.decisions),
    }


def _told(one: Decision) -> dict[str, Any]:
    boxes = [_listed(box) for box in one.boxes]
    return {"actor": one.actor, "verdict": one.verdict, "at": one.at, "boxes": boxes}


def _listed(box: Box) -> list[int | None]:
    return [box.top, box.left, box.bottom, box.right, box.frame]
