"""The console's pages of images in which text was found: pictures with boxes, readers' decisions, headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from carina.deid.pixels.findings import Box
from carina.errors import BadInput, CarinaError, Conflict, FinderUnavailable
from carina.interfaces.api.node import MANAGERS
from carina.interfaces.api.problems import status_of
from carina.interfaces.dicomweb.giving import work
from carina.interfaces.language import gettext as _
from carina.interfaces.language import mark, ngettext
from carina.interfaces.web.pages import Pages, local_path
from carina.interfaces.web.words import plural
from carina.model.principal import Principal
from carina.node import pixels, review
from carina.node.review import Decision, Review, Verdict
from carina.node.site import Node

ROWS = 24  # pictures on one page of the list
SMALL = 360  # pixels of a small picture's longer side
DONE = {
    "settled": mark("Decided. The image goes back to the workers, which blank its boxes."),
    "clear": mark("Decided: there is no text. The image goes back to the workers."),
    "rejected": mark("Rejected. For 24 hours the quarantine keeps its sealed bytes, and can take it back."),
    "waits": mark("Noted. A second reader must say the same."),
}
ACTIONS = {  # of PS3.15 Table E.1-1a
    "K": mark("Kept"),
    "X": mark("Removed"),
    "Z": mark("Emptied"),
    "D": mark("Replaced"),
    "U": mark("New UID"),
    "C": mark("Cleaned"),
    "+": mark("Added"),
}


@dataclass(frozen=True)
class Drawn:
    """A box on the page. `value`: as its form gives it back; `shown`: whether it lies on the frame that is shown."""

    number: int
    box: Box
    value: str
    shown: bool

    @property
    def place(self) -> str:
        """Where it is and how large, in pixels."""
        box = self.box
        size = {"width": box.right - box.left, "height": box.bottom - box.top}
        return _("{width} × {height} at {left}, {top}").format(**size, left=box.left, top=box.top)


def is_manager(who: Principal | None) -> bool:
    """Whether this person may see what is in quarantine, and decide on it."""
    return who is not None and bool(who.roles & MANAGERS)


def review_routes(node: Node, pages: Pages) -> list[Route]:
    """`/review` and what is below; for data managers only, for the pictures identify people."""

    async def every(request: Request) -> Response:
        who = await pages.identity.identify(request, MANAGERS)
        project, after = project_of(node, request), request.query_params.get("after", "")
        found = await run_in_threadpool(review.flagged, node, project, ROWS + 1, after)
        return await pages.render(
            request,
            "node/review.html",
            backlogs=await run_in_threadpool(review.backlogs, node),
            blind=FinderUnavailable() if await run_in_threadpool(pixels.is_blind, node) else None,
            project=project,
            cards=[card(one, who.subject) for one in found[:ROWS]],
            older=address("/review", project=project, after=found[ROWS - 1].id) if len(found) > ROWS else "",
            done=DONE.get(request.query_params.get("done", ""), ""),
            kept=address("", project=project, next=back_of(request)),
        )

    async def one(request: Request) -> Response:
        return await _one(node, pages, request)

    async def decide(request: Request) -> Response:
        return await _decide(node, pages, request)

    async def picture(request: Request) -> Response:
        who = await pages.identity.identify(request, MANAGERS)
        small, whole = request.query_params.get("size") == "small", request.query_params.get("window") == "whole"
        draw = partial(
            review.picture,
            frame=request.path_params["frame"],
            side=SMALL if small else review.LARGEST,
            whole_range=whole,
        )
        data = await work(draw, node, who.subject, request.path_params["id"])
        return Response(data, media_type="image/png")

    async def header(request: Request) -> Response:
        who = await pages.identity.identify(request, MANAGERS)
        project, this = project_of(node, request), request.path_params["id"]
        found = await work(review.header, node, who.subject, this)
        every_one = request.query_params.get("all") == "1"
        return await pages.render(
            request,
            "node/review_header.html",
            id=this,
            rows=[each for each in found if each.changed or every_one],
            count=len(found),
            changed=sum(1 for each in found if each.changed),
            every_one=every_one,
            kept=address("", project=project, next=back_of(request)),
            other=address(
                f"/review/{this}/header", all="" if every_one else "1", project=project, next=back_of(request)
            ),
            actions=ACTIONS,
        )

    return [
        Route("/review", every, methods=["GET"]),
        Route("/review/{id}", one, methods=["GET"]),
        Route("/review/{id}", decide, methods=["POST"]),
        Route("/review/{id}/frames/{frame:int}", picture, methods=["GET"]),
        Route("/review/{id}/header", header, methods=["GET"]),
    ]


async def _one(
    node: Node,
    pages: Pages,
    request: Request,
    problem: CarinaError | None = None,
) -> Response:
    """An image's page; with `problem`, after a decision that could not be taken."""
    who = await pages.identity.identify(request, MANAGERS)
    project = project_of(node, request)
    found = await run_in_threadpool(review.get, node, request.path_params["id"])
    before, after = await run_in_threadpool(review.beside, node, found, project)
    frame = frame_of(found, request.query_params.get("frame", ""))
    boxes = drawn(found.proposed, frame)
    return await pages.render(
        request,
        "node/review_one.html",
        200 if problem is None else status_of(problem),
        one=found,
        title=title(found),
        frame=frame,
        whole=request.query_params.get("window") == "whole",
        boxes=boxes,
        mine=found.decided_by(who.subject),
        opinions=[(opinion, says(opinion)) for opinion in found.opinions],
        before=address(f"/review/{before}", project=project, next=back_of(request)) if before else "",
        after=address(f"/review/{after}", project=project, next=back_of(request)) if after else "",
        kept=address("", project=project, next=back_of(request)),
        project=project,
        next=back_of(request),
        problem=problem,
        done=DONE.get(request.query_params.get("done", ""), "") if problem is None else "",
    )


async def _decide(node: Node, pages: Pages, request: Request) -> Response:
    """Note what the form says; then show what this reader is to look at next."""
    who = await pages.identity.identify(request, MANAGERS)
    project, this = project_of(node, request), request.path_params["id"]
    async with request.form(max_files=0, max_fields=review.MOST_BOXES + 10) as given:
        try:
            verdict, boxes, seen = given_decision(given)
            note = partial(review.decide, node, who.subject, this, verdict, boxes, seen=seen)
            outcome = await run_in_threadpool(note)
        except (BadInput, Conflict) as error:
            return await _one(node, pages, request, error)
    word = "clear" if outcome == "settled" and not boxes else outcome
    if back_of(request):
        return RedirectResponse(back_of(request), 303)
    following = await run_in_threadpool(review.next_for, node, who.subject, this, project)
    path = f"/review/{following}" if following else "/review"
    return RedirectResponse(address(path, done=word, project=project), 303)


def given_decision(given: FormData) -> tuple[Verdict, list[Box], int]:
    """What the form of an image's page says. `clear`, there is no text, is to accept it without a box."""
    word, seen = str(given.get("verdict", "")), str(given.get("seen", ""))
    if word not in (*get_args(Verdict), "clear") or not (seen.isdecimal() and len(seen) < 6):
        raise BadInput("This form asks for nothing that is known here.")
    boxes = [typed_box(str(text)) for text in given.getlist("box")] if word == "accept" else []
    if word == "accept" and not boxes:
        raise BadInput("No box is left to be blanked.", "Draw one, or choose “No text here”.")
    return ("reject" if word == "reject" else "accept"), boxes, int(seen)


def typed_box(text: str) -> Box:
    """`TOP LEFT BOTTOM RIGHT FRAME`, in pixels; the frame 0-based, `all` for all of them. Raises `BadInput`."""
    parts = text.split(" ")
    if len(parts) != 5 or not all(part.isdecimal() and len(part) < 7 for part in parts[:4]):
        raise BadInput("A box is not written as this page writes it.", "Load the page again.")
    frame = parts[4]
    if frame != "all" and not (frame.isdecimal() and len(frame) < 7):
        raise BadInput("A box is not written as this page writes it.", "Load the page again.")
    top, left, bottom, right = (int(part) for part in parts[:4])
    return Box(top, left, bottom, right, None if frame == "all" else int(frame))


def drawn(boxes: Sequence[Box], frame: int) -> list[Drawn]:
    """The boxes for the page that shows this frame, numbered from 1."""
    return [
        Drawn(
            number,
            box,
            f"{box.top} {box.left} {box.bottom} {box.right} {'all' if box.frame is None else box.frame}",
            box.frame is None or box.frame == frame - 1,
        )
        for number, box in enumerate(boxes, 1)
    ]


def card(one: Review, actor: str) -> dict[str, Any]:
    """What the list shows of an image: the first frame that has a box, and whether another reader must decide now."""
    frame = frame_of(one, "")
    boxes = drawn(one.proposed, frame)
    return {"one": one, "title": title(one), "frame": frame, "boxes": boxes, "waits": one.decided_by(actor) is not None}


def title(one: Review) -> str:
    """`US image`, `US image, 40 frames`."""
    kind = _("{modality} image").format(modality=one.modality) if one.modality else _("Image")
    return f"{kind}, {plural(one.frames, 'frame')}" if one.frames > 1 else kind


def says(decision: Decision) -> str:
    """A reader's decision in words."""
    if decision.verdict == "reject":
        return _("may not pass")
    count = len(decision.boxes)
    passes = ngettext("passes with {n} box blanked", "passes with {n} boxes blanked", count).format(n=count)
    return passes if count else _("shows no text")


def frame_of(one: Review, text: str) -> int:
    """The frame that the address names, else the first that has a box."""
    if text.isdecimal() and len(text) < 7:
        return min(max(int(text), 1), one.frames)
    frames = [box.frame for box in one.proposed]
    return 1 if None in frames or not frames else min(frame or 0 for frame in frames) + 1


def project_of(node: Node, request: Request) -> str:
    """The project that the address names, if this node has it; empty: all."""
    text = request.query_params.get("project", "")
    return text if text in node.projects else ""


def back_of(request: Request) -> str:
    """Where a person came from and is led back to after a decision: `next` of the address, or ""."""
    asked = request.query_params.get("next", "")
    return local_path(asked) if asked else ""


def address(path: str, **words: str) -> str:
    """A path with what is chosen; what is empty is left out."""
    given = urlencode({name: word for name, word in words.items() if word})
    return f"{path}?{given}" if given else path
