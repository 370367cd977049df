"""The DICOMweb service of a node, DICOM PS3.18: `/dicom-web` inside, and each dataset's own outside (`outside`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from functools import partial
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.dicom.levels import Level
from carina.interfaces.dicomweb import qido, stow, wado
from carina.interfaces.dicomweb.capabilities import other_routes
from carina.interfaces.dicomweb.metadata import metadata
from carina.interfaces.dicomweb.opening import LOOK_UP, RETRIEVE, VIEW, Opener, Reader
from carina.interfaces.dicomweb.rendered import rendered, thumbnail
from carina.interfaces.dicomweb.resources import (
    BULK_DATA,
    METADATA,
    OBJECTS,
    PIXELS,
    READING,
    RENDERED,
    SEARCHES,
    STORE,
    THUMBNAILS,
    WADO_URI,
    Resource,
)
from carina.interfaces.dicomweb.wadouri import wado_uri
from carina.model.ids import uid
from carina.model.permit import Action
from carina.model.principal import Principal, Role
from carina.node.site import Node

Identify: TypeAlias = Callable[[Request, Set[Role]], Awaitable[Principal]]
"""Who asks, if they have one of the roles; raises `NotAllowed`."""

SENDERS: frozenset[Role] = frozenset({"sender"})

Answer: TypeAlias = Callable[[Node, Request, Reader], Awaitable[Response]]
"""Makes the answer for a reader."""


def store_routes(node: Node, identify: Identify) -> list[Route]:
    """STOW-RS for senders. Errors are raised, for the application to answer."""
    reception = stow.Reception()

    async def store(request: Request) -> Response:
        sender = await identify(request, SENDERS)
        study = request.path_params.get("study")
        source = stow.source_of(sender)
        return _private(await stow.store(node, request, source, None if study is None else uid(study), reception))

    return [Route(resource.path, store, methods=["POST"]) for resource in STORE]


def dicomweb_routes(node: Node, opens: Opener, url: str = "", *, stores: bool = True) -> list[Route]:
    """QIDO-RS, WADO-RS and WADO-URI for whom `opens` lets in. Errors are raised, for the application to answer.

    url     the listener's address for clients, as in answers; without it, what each request calls it. Some clients
            (dicomweb-client 0.61) leave the port out of that
    stores  whether `store_routes` are here, too: methods that nothing takes are refused by the last of these routes
    """
    described = [*(STORE if stores else ()), *READING]
    return [
        *_retrieve_routes(node, opens, url),
        *_search_routes(node, opens, url),
        _uri_route(node, opens, url),
        *other_routes(described, url),
    ]


def _search_routes(node: Node, opens: Opener, url: str) -> list[Route]:
    def route(path: str, level: Level) -> Route:
        async def search(request: Request) -> Response:
            request.state.address = url
            return _private(await qido.search(node, request, level, partial(opens.then, request, LOOK_UP)))

        return Route(path, search, methods=["GET"])

    levels: dict[str, Level] = {"studies": "study", "series": "series", "instances": "instance"}
    return [route(resource.path, levels[resource.path.rsplit("/", 1)[-1]]) for resource in SEARCHES]


def _retrieve_routes(node: Node, opens: Opener, url: str) -> list[Route]:
    """What is asked for most comes first: addresses are compared one after the other."""

    def route(resource: Resource, actions: Sequence[Action], answer: Answer) -> Route:
        async def retrieve(request: Request) -> Response:
            reader = await opens(request, actions)
            request.state.address = url
            return _private(await answer(node, request, reader))

        return Route(resource.path, retrieve, methods=["GET"])

    async def frames(request: Request) -> Response:
        request.state.address = url
        return _private(await wado.frames(node, request, partial(opens.then, request, RETRIEVE)))

    return [
        Route(PIXELS.path, frames, methods=["GET"]),
        *(route(resource, RETRIEVE, wado.retrieve) for resource in OBJECTS),
        *(route(resource, LOOK_UP, metadata) for resource in METADATA),
        *(route(resource, VIEW, rendered) for resource in RENDERED),
        *(route(resource, VIEW, thumbnail) for resource in THUMBNAILS),
        route(BULK_DATA, RETRIEVE, wado.bulk_data),
    ]


def _uri_route(node: Node, opens: Opener, url: str) -> Route:
    async def retrieve(request: Request) -> Response:
        request.state.address = url
        return _private(await wado_uri(node, request, opens))

    return Route(WADO_URI.path, retrieve, methods=["GET"])


def _private(response: Response) -> Response:
    """Nothing between the node and whoever reads may keep the answer, nor a browser on its disk: what was given under
    a permit is not to lie there when it has ended. Programs that keep what they fetched compare it by its entity tag.
    """
    response.headers["Cache-Control"] = "no-store"
    return response
