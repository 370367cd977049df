"""What the pages of studies share, outside and inside: the list with its search, and a study with one series open."""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from carina.interfaces.dicomweb.giving import work
from carina.interfaces.web.kinds import first_images
from carina.interfaces.web.quick import header_shown, quick_look
from carina.interfaces.web.studyfilter import MODALITIES, filter_of
from carina.model.ids import uid
from carina.model.principal import Principal
from carina.node import look, retrieve
from carina.node.authorise import Grant
from carina.node.look import StudySeen
from carina.node.retrieve import hand_out
from carina.node.site import Node

ROWS = 50  # studies on one page
POLL = 5  # seconds between looks whether the page may stay open


def page_number(request: Request) -> int:
    """`page`, from 1; 1 for anything else."""
    text = request.query_params.get("page", "1")
    return int(text) if text.isdecimal() and 0 < len(text) < 7 and int(text) > 0 else 1


def list_of_studies(node: Node, grant: Grant, request: Request) -> dict[str, Any]:
    """One page of the studies that the address asks for, as `look/list.html` shows them."""
    asked, number = filter_of(request.query_params), page_number(request)
    found = look.studies(node, grant, ROWS + 1, (number - 1) * ROWS, asked.matches)
    return {
        "studies": found[:ROWS],
        "number": number,
        "more": len(found) > ROWS,
        "filter": asked,
        "modalities": MODALITIES,
    }


async def shown_series(
    node: Node,
    grant: Grant,
    study: StudySeen,
    request: Request,
    base: str,
    *,
    who: Principal,
    looks: bool,
    whole: bool,
) -> dict[str, Any]:
    """The series that the address names, or the study's first, as `look/study.html` shows it.

    base    what the addresses of studies begin with: `/datasets/{iri}`, or nothing
    looks   whether pictures may be shown; else no series is opened
    whole   whether headers that are an object's content may be read, too: who asks may retrieve the object
    """
    asked = dict(request.query_params)
    chosen = asked.get("series") or first_images(study.series) or next((one.uid for one in study.series), "")
    shown: dict[str, Any] = {"chosen": chosen, "look": None, "header": None, "sought": asked.get("find", "")[:64]}
    if not chosen or not looks:
        return shown
    path = f"{base}/studies/{study.uid}"
    looked = await work(look.look, node, grant, study, uid(chosen))
    shown["look"] = quick_look(looked, f"{path}/series/{looked.series.uid}", path, asked)
    if asked.get("header") == "1" and shown["look"]["uid"]:
        place = (study.uid, looked.series.uid, shown["look"]["uid"])
        shown["header"] = await work(partial(header_shown, whole=whole), node, grant, place, shown["sought"])
        if shown["header"].why_not is None:
            await run_in_threadpool(_write_down, node, grant, place, who)
    return shown


def _write_down(node: Node, grant: Grant, place: tuple[str, str, str], who: Principal) -> None:
    """That this person has seen the instance's header."""
    hand_out(node, grant, retrieve.place(node, grant, *place), who, "rendered")
