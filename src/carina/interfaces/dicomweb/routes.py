"""The DICOMweb service of a node, DICOM PS3.18: `/dicom-web` inside, and each dataset's own outside (`outside`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.dicom.levels import Level
from carina.interfaces.dicomweb import qido, stow, wado
from carina.interfaces.dicomweb.opening import LOOK_UP, RETRIEVE, VIEW, Opener, Reader
from carina.interfaces.dicomweb.rendered import rendered
from carina.interfaces.room import Room
from carina.model.ids import uid
from carina.model.permit import Action
from carina.model.principal import Principal, Role
from carina.node.site import Node

Identify: TypeAlias = Callable[[Request, Set[Role]], Awaitable[Principal]]
"""Who asks, if they have one of the roles; raises `NotAllowed`."""

SENDERS: frozenset[Role] = frozenset({"sender"})

_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"


def store_routes(node: Node, identify: Identify) -> list[Route]:
    """STOW-RS for senders. Errors are raised, for the application to answer."""
    room = Room(2 * node.largest_instance)

    async def store(request: Request) -> Response:
        sender = await identify(request, SENDERS)
        study = request.path_params.get("study")
        source = stow.source_of(sender)
        return _private(await stow.store(node, request, source, None if study is None else uid(study), room))

    return [Route("/studies", store, methods=["POST"]), Route(_STUDY, store, methods=["POST"])]


def dicomweb_routes(node: Node, opens: Opener, url: str = "") -> list[Route]:
    """QIDO-RS and WADO-RS for whom `opens` lets in. Errors are raised, for the application to answer.

    url   the listener's address for clients, as in answers; without it, what each request calls it. Some clients
          (dicomweb-client 0.61) leave the port out of that
    """
    return [*_search_routes(node, opens, url), *_retrieve_routes(node, opens, url)]


def _search_routes(node: Node, opens: Opener, url: str) -> list[Route]:
    def route(path: str, level: Level) -> Route:
        async def search(request: Request) -> Response:
            reader = await opens(request, LOOK_UP)
            request.state.address = url
            return _private(await qido.search(node, request, level, reader))

        return Route(path, search, methods=["GET"])

    return [
        route("/studies", "study"),
        route("/series", "series"),
        route("/instances", "instance"),
        route(f"{_STUDY}/series", "series"),
        route(f"{_STUDY}/instances", "instance"),
        route(f"{_SERIES}/instances", "instance"),
    ]


def _retrieve_routes(node: Node, opens: Opener, url: str) -> list[Route]:
    def route(
        path: str, actions: Sequence[Action], answer: Callable[[Node, Request, Reader], Awaitable[Response]]
    ) -> Route:
        async def retrieve(request: Request) -> Response:
            reader = await opens(request, actions)
            request.state.address = url
            return _private(await answer(node, request, reader))

        return Route(path, retrieve, methods=["GET"])

    return [
        *(route(path, RETRIEVE, wado.retrieve) for path in (_STUDY, _SERIES, _INSTANCE)),
        *(route(f"{path}/metadata", LOOK_UP, wado.metadata) for path in (_STUDY, _SERIES, _INSTANCE)),
        route(f"{_INSTANCE}/frames/{{frames}}", RETRIEVE, wado.frames),
        route(f"{_INSTANCE}/rendered", VIEW, rendered),
        route(f"{_INSTANCE}/frames/{{frames}}/rendered", VIEW, rendered),
        route(f"{_INSTANCE}/bulkdata/{{path:path}}", RETRIEVE, wado.bulk_data),
    ]


def _private(response: Response) -> Response:
    """Nothing between the node and whoever reads may keep the answer."""
    response.headers["Cache-Control"] = "no-store"
    return response
