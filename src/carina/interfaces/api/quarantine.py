"""Quarantine as JSON, for a node's staff: what waits and why, what may be done, and doing it."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.errors import BadInput, PermitDenied
from carina.interfaces.api.identity import STAFF, Identity
from carina.interfaces.api.requests import json_object, no_parameters
from carina.model.instance import Reason
from carina.model.principal import Principal, Role
from carina.node import alternatives, discarded, quarantine
from carina.node.quarantine import Batch, Held, State, Wanted
from carina.node.remedies import REMEDIES
from carina.node.sender import sender_of
from carina.node.site import Node

MANAGERS: frozenset[Role] = frozenset({"data-manager"})
MOST = 1_000  # entries of one answer
MOST_DAYS = 99_999
STATES: tuple[State, ...] = ("waiting", "discarded")
FILTERS = ("reason", "source", "project", "modality", "days")


def quarantine_routes(node: Node, identity: Identity) -> list[Route]:
    """`/api/quarantine` and what is below."""

    async def heaps(request: Request) -> Response:
        await identity.identify(request, STAFF)
        no_parameters(request)
        return JSONResponse(await run_in_threadpool(heaps_to_json, node))

    async def entries(request: Request) -> Response:
        await identity.identify(request, STAFF)
        given = dict(request.query_params)
        state, after = given.pop("state", "waiting"), given.pop("after", "")
        limit = _number(given.pop("limit", "100"))
        if state not in STATES or not 0 < limit <= MOST:
            raise BadInput(f"The state is waiting or discarded, the limit 1 to {MOST}.")
        ask = partial(quarantine.entries, node, None, limit, after, wanted=wanted_of(given), state=state)
        return JSONResponse([held_to_json(held) for held in await run_in_threadpool(ask)])

    async def one(request: Request) -> Response:
        await identity.identify(request, STAFF)
        no_parameters(request)
        return JSONResponse(await run_in_threadpool(one_to_json, node, request.path_params["id"]))

    async def sender(request: Request) -> Response:
        who = await identity.identify(request, MANAGERS)
        no_parameters(request)
        found = await run_in_threadpool(sender_of, node, who.subject, request.path_params["id"])
        return JSONResponse({"kind": found.source.kind, "name": found.source.name, "project": found.project})

    async def progress(request: Request) -> Response:
        await identity.identify(request, STAFF)
        first, last = (_number(request.query_params.get(name, "")) for name in ("first", "last"))
        found = await run_in_threadpool(quarantine.progress, node, Batch(0, first, last))
        return JSONResponse(asdict(found))

    async def decide(request: Request) -> Response:
        who = await identity.identify(request, STAFF)
        no_parameters(request)
        return JSONResponse(await run_in_threadpool(_decide, node, who, await json_object(request)))

    return [
        Route("/api/quarantine", heaps, methods=["GET"]),
        Route("/api/quarantine", decide, methods=["POST"]),
        Route("/api/quarantine/progress", progress),
        Route("/api/quarantine/entries", entries),
        Route("/api/quarantine/entries/{id}", one),
        Route("/api/quarantine/entries/{id}/source", sender),
    ]


def _decide(node: Node, who: Principal, body: dict[str, Any]) -> dict[str, Any]:
    """`action`, and `ids` or filters; `profile` for `retry`, which a data manager chooses."""
    given = dict(body)
    action, profile, ids = given.pop("action", None), given.pop("profile", ""), given.pop("ids", None)
    if not isinstance(profile, str) or (profile and action != "retry"):
        raise BadInput("A profile is a text, and chosen for retry only.")
    if profile and not who.roles & MANAGERS:
        raise PermitDenied("A data manager chooses another profile.", reason="action-not-granted")
    chosen = _chosen(ids, given)
    match action:
        case "retry":
            return asdict(quarantine.retry(node, who.subject, **chosen, profile=profile))
        case "discard":
            return {"count": quarantine.discard(node, who.subject, **chosen)}
        case "restore":
            return {"count": quarantine.restore(node, who.subject, **chosen)}
        case "destroy":
            require_destroyer(who)
            named = chosen.get("ids") or quarantine.ids(node, chosen["wanted"], "discarded")
            return {"count": discarded.destroy(node, who.subject, named)}
    raise BadInput("This action is not known here.", "Use retry, discard, restore or destroy.")


def require_destroyer(who: Principal) -> None:
    """Operators discard, which can be taken back; raises `PermitDenied` where they would destroy before that ends."""
    if not who.roles & MANAGERS:
        raise PermitDenied(
            "Only a data manager destroys what is discarded before its 24 hours have passed.",
            "Leave it: it is destroyed then by itself.",
            reason="action-not-granted",
        )


def _chosen(ids: Any, filters: dict[str, Any]) -> dict[str, Any]:
    """Ids, or filters: never all that is there because nothing was said."""
    if ids is not None:
        if filters or not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
            raise BadInput("`ids` is a list of texts, and then there is no filter.")
        return {"ids": ids}
    if not filters:
        raise BadInput("Nothing was chosen.", f"Give ids, or one of: {', '.join(FILTERS)}.")
    return {"wanted": wanted_of({name: str(value) for name, value in filters.items()})}


def wanted_of(given: dict[str, str]) -> Wanted:
    """The filters, or `BadInput` for one that is not known."""
    unknown = set(given) - set(FILTERS)
    if unknown:
        raise BadInput("A filter is not known here.", f"There are: {', '.join(FILTERS)}.")
    days = _number(given.get("days", "0"))
    if days > MOST_DAYS:
        raise BadInput("The age is no number of days.", "Write it in digits.")
    wanted = Wanted(days=days)
    if reason := given.get("reason"):
        if reason not in list(Reason):
            raise BadInput("There is no such reason for quarantine.", f"Reasons: {', '.join(Reason)}.")
        wanted = replace(wanted, reason=Reason(reason))
    source, project, modality = (given.get(name, "") for name in ("source", "project", "modality"))
    return replace(wanted, source=source, project=project, modality=modality)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 15:
        raise BadInput("A number was expected.", "Write it in digits.")
    return int(text)


def heaps_to_json(node: Node) -> dict[str, Any]:
    """The reasons with what may be done, and how much is discarded."""
    found = [
        {
            "reason": heap.reason,
            "sentence": heap.sentence,
            "count": heap.count,
            "size": heap.size,
            "oldest": heap.oldest,
            "newest": heap.newest,
            "modalities": heap.modalities,
            "actions": list(REMEDIES[heap.reason].actions),
            "advice": REMEDIES[heap.reason].advice,
        }
        for heap in quarantine.heaps(node)
    ]
    return {"waiting": found, "discarded": quarantine.count(node, state="discarded")}


def held_to_json(held: Held) -> dict[str, Any]:
    """One entry."""
    plain = {name: value for name, value in asdict(held).items() if name != "source"}
    return {**plain, "source": str(held.source), "kept_until": held.kept_until}


def one_to_json(node: Node, arrival_id: str) -> dict[str, Any]:
    """One entry with what may be done, and the profiles that are offered for it."""
    held = quarantine.get(node, arrival_id)
    project = node.projects.get(held.project) if held.project is not None else None
    remedies = REMEDIES[held.reason]
    by = alternatives.offered(node, project) if project is not None and "profile" in remedies.actions else []
    profiles = [{"word": one.word, "name": one.profile.name, "digest": one.profile.digest, "keeps": list(one.keeps),
                 "removes": list(one.removes), "searches": one.searches} for one in by]  # fmt: skip
    return {**held_to_json(held), "actions": list(remedies.actions), "advice": remedies.advice, "profiles": profiles}
