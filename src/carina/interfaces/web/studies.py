"""The console's pages of the archive's studies, for data managers: a list to search, a study, a quick look.

What a researcher is shown of a dataset is shown here of all of the archive, from the same templates.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.interfaces.api.node import MANAGERS
from carina.interfaces.dicomweb.opening import by_staff
from carina.interfaces.web import imagewords, kinds
from carina.interfaces.web.looking import look_routes
from carina.interfaces.web.pages import Pages
from carina.interfaces.web.studypage import POLL, list_of_studies, shown_series
from carina.model.ids import uid
from carina.model.principal import Principal
from carina.node import look
from carina.node.authorise import Grant, authorise
from carina.node.site import Node


def study_routes(node: Node, pages: Pages) -> list[Route]:
    """`/studies` and what is below; for data managers only."""

    async def opened(request: Request) -> tuple[Principal, Grant]:
        who = await pages.identity.identify(request, MANAGERS)
        return who, await run_in_threadpool(partial(authorise, node, who, None, "view", door="web"))

    async def every(request: Request) -> Response:
        context = await run_in_threadpool(list_of_studies, node, (await opened(request))[1], request)
        return await show(request, "node/studies.html", **context, persons=True)

    async def one(request: Request) -> Response:
        who, grant = await opened(request)
        study = await run_in_threadpool(look.study, node, grant, uid(request.path_params["study"]))
        shown = await shown_series(node, grant, study, request, "", who=who, looks=True, whole=True)
        await opened(request)  # it may have waited
        return await show(request, "node/study.html", study=study, **shown, snippet=None)

    async def access(request: Request) -> Response:
        await opened(request)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def show(request: Request, template: str, **context: Any) -> Response:
        frame: dict[str, Any] = {
            "base": "",
            "here": "/studies",
            "access": "/studies/access",
            "poll": POLL,
            "looks": True,
        }
        return await pages.render(request, template, **frame, say=imagewords, kinds=kinds, **context)

    return [
        Route("/studies", every, methods=["GET"]),
        Route("/studies/access", access, methods=["GET"]),
        Route("/studies/{study}", one, methods=["GET"]),
        *look_routes(node, by_staff(node, pages.identity), "/studies/{study}/series/{series}"),
    ]
