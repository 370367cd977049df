"""Who reads through DICOMweb, and what they may touch: every request to read is asked about at `node.authorise`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from carina.errors import NotSignedIn
from carina.interfaces.api.identity import Identity, bearer
from carina.model.permit import Action
from carina.model.principal import Principal
from carina.node.authorise import Grant
from carina.node.retrieve import granted
from carina.node.site import Node
from carina.node.visits import visit

LOOK_UP: tuple[Action, ...] = ("view", "retrieve")
"""Searches and headers belong to both."""
VIEW: tuple[Action, ...] = ("view",)
RETRIEVE: tuple[Action, ...] = ("retrieve",)


@dataclass(frozen=True)
class Reader:
    """Someone who may read, and what. `actions`: one of them must stay granted while an answer is under way."""

    who: Principal
    grant: Grant
    actions: Sequence[Action]


T = TypeVar("T")
Judged: TypeAlias = Callable[[Request, Sequence[Action], Callable[[Reader], Any]], Awaitable[Any]]


@dataclass(frozen=True)
class Opener:
    """Who asks, and what they may touch, by the first of the actions that is granted to them. Raises `NotAllowed`."""

    judged: Judged

    async def __call__(self, request: Request, actions: Sequence[Action]) -> Reader:
        """Whoever asks."""
        return await self.then(request, actions, _itself)

    async def then(self, request: Request, actions: Sequence[Action], function: Callable[[Reader], T]) -> T:
        """What the function makes of whoever asks, in the thread in which they are judged: a change of threads costs
        more than most questions.
        """
        made: T = await self.judged(request, actions, function)
        return made


class Enter(Protocol):
    """`Opener.then` for one request."""

    def __call__(self, function: Callable[[Reader], T], /) -> Awaitable[T]:
        """What the function makes of whoever asks."""


def _itself(reader: Reader) -> Reader:
    return reader


def by_staff(node: Node, identity: Identity) -> Opener:
    """The node's own staff and services, who read the whole archive, or the dataset that the address names, `{iri}`."""

    async def open_archive(request: Request, actions: Sequence[Action], function: Callable[[Reader], T]) -> T:
        dataset = request.path_params.get("iri")

        def judged(who: Principal) -> T:
            return function(Reader(who, granted(node, who, dataset, actions), actions))

        return await identity.judged(request, judged)

    return Opener(open_archive)


def by_visit(node: Node, cookie: str) -> Opener:
    """Researchers whom a hub has handed over, who read the dataset that the address names, `{iri}`.

    cookie   name of the one that holds a browser's secret; programs give theirs as `Authorization: Bearer …`. A request
             with `Authorization` is judged by that alone
    """

    async def open_dataset(request: Request, actions: Sequence[Action], function: Callable[[Reader], T]) -> T:
        kept = None if "authorization" in request.headers else request.cookies.get(cookie)
        secret = bearer(request) or kept
        dataset = request.path_params["iri"]
        return await run_in_threadpool(lambda: function(_visitor(node, secret, dataset, actions)))

    return Opener(open_dataset)


def by_viewer(node: Node, cookie: str) -> Opener:
    """A viewer that was handed one study, which sees nothing else: `{iri}` and `{shown}` of the address.

    cookie   name of the one that holds its secret; nothing else lets in
    """

    async def open_study(request: Request, actions: Sequence[Action], function: Callable[[Reader], T]) -> T:
        secret = request.cookies.get(cookie)
        dataset, study = request.path_params["iri"], request.path_params["shown"]
        return await run_in_threadpool(lambda: function(_visitor(node, secret, dataset, actions, study)))

    return Opener(open_study)


def _visitor(node: Node, secret: str | None, dataset: str, actions: Sequence[Action], study: str = "") -> Reader:
    visitor = visit(node, secret, study=study) if secret else None
    if visitor is None:
        raise NotSignedIn(
            "You have not been let in here, or your visit has ended.",
            "Open the dataset from your permit's page at the hub.",
        )
    who = visitor.principal  # of one permit, so of one dataset
    return Reader(who, replace(granted(node, who, dataset, actions), study=study), actions)
