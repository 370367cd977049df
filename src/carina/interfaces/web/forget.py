"""The console's page to forget a person: an identifier in a form, counts, and only then the deed.

The identifier is in the body of the first form alone: between the two forms the person is named by keyed digests
(`tombstones.Mark`), which mean nothing outside of the node.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.errors import BadInput, CarinaError, NotFound
from carina.interfaces.api.node import MANAGERS
from carina.interfaces.api.problems import status_of
from carina.interfaces.language import mark
from carina.interfaces.web.pages import Pages, back
from carina.model.ids import ProjectId
from carina.node import forget
from carina.node.site import Node
from carina.node.tombstones import Mark

ROWS = 20  # of what was done, on the page
_LONGEST = 200  # characters of an identifier
_MARK = re.compile(r"([a-z][a-z0-9-]{0,39}):([0-9a-f]{64})", re.ASCII)
DONE = {
    "forgotten": mark(
        "The person is forgotten. Whatever comes of them from now on is refused; the hubs are told at once."
    )
}


def forget_routes(node: Node, pages: Pages) -> list[Route]:
    """`/forget`; for data managers only."""

    async def form(request: Request) -> Response:
        await pages.identity.identify(request, MANAGERS)
        return await _form(node, pages, request)

    async def act(request: Request) -> Response:
        who = await pages.identity.identify(request, MANAGERS)
        async with request.form(max_files=0) as given:
            try:
                if given.get("step") == "forget":
                    marks = _confirmed(node, given)
                    await run_in_threadpool(forget.forget, node, who.subject, marks)
                    return back("/forget", "forgotten")
                marks = await run_in_threadpool(_sought, node, given, who.subject)
            except (BadInput, NotFound) as error:
                return await _form(node, pages, request, error)
        found = await run_in_threadpool(forget.count, node, marks)
        written = [f"{project}:{digest}" for project, digest in sorted(marks)]
        titles = [node.projects[one].title for one in sorted({project for project, _ in marks})]
        return await pages.render(request, "node/forget_one.html", found=found, marks=written, titles=titles)

    return [Route("/forget", form, methods=["GET"]), Route("/forget", act, methods=["POST"])]


async def _form(node: Node, pages: Pages, request: Request, problem: CarinaError | None = None) -> Response:
    """The page; what was typed is not shown again."""
    context: dict[str, Any] = {
        "projects": list(node.projects.values()),
        "problem": problem,
        "done": DONE.get(request.query_params.get("done", ""), "") if problem is None else "",
        "past": await run_in_threadpool(node.audit.entries, ROWS, None, forget.FORGOTTEN),
        "tombstones": await run_in_threadpool(forget.number_forgotten, node),
    }
    return await pages.render(request, "node/forget.html", 200 if problem is None else status_of(problem), **context)


def _sought(node: Node, given: FormData, actor: str) -> set[Mark]:
    """Whom the first form names."""
    identifier, issuer = str(given.get("identifier", "")), str(given.get("issuer", ""))
    if len(identifier) > _LONGEST or len(issuer) > _LONGEST:
        raise BadInput("The identifier or its issuer is too long.", f"Each has {_LONGEST} characters at most.")
    project = str(given.get("project", ""))
    return forget.marks_of(node, identifier, issuer, [ProjectId(project)] if project else [], actor=actor)


def _confirmed(node: Node, given: FormData) -> set[Mark]:
    """Whom the second form names. Raises `BadInput` without the tick, and for what the page did not write."""
    found = [_MARK.fullmatch(str(one)) for one in given.getlist("mark")]
    marks = {(ProjectId(one[1]), one[2]) for one in found if one is not None and one[1] in node.projects}
    if not marks or len(marks) < len(found):
        raise BadInput("This form does not say who is to be forgotten.", "Begin anew with the identifier.")
    if given.get("sure") != "yes":
        raise BadInput("Nothing was deleted: the box was not ticked.", "Begin anew with the identifier.")
    return marks
