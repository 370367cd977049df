"""The hub's JSON of access: requests, committees, permits and runs; `docs/reference/api.md` describes it."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.errors import BadInput
from carina.hub import permits, requests, runs
from carina.hub.centre import Hub
from carina.hub.requests import AccessRequest, Decision, Draft, Item
from carina.interfaces.api.access_documents import item_to_json, permit_to_json, request_to_json
from carina.interfaces.api.documents import Json
from carina.interfaces.api.exports import analysis_to_json, run_to_csv, run_to_json
from carina.interfaces.api.identity import Identity
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.requests import json_object, no_parameters
from carina.model.job import ANALYSES
from carina.model.permit import LIVE, actions
from carina.model.principal import Principal

_STEPS = ("answer", "withdraw", "ask", "refuse", "grant")
_ID = "{id:str}"


def access_routes(hub: Hub, identity: Identity, limit: RateLimit) -> list[Route]:
    """All that programs may ask of a hub about access; what makes something new counts towards a person's `limit`."""
    return [
        *_request_routes(hub, identity, limit),
        *_item_routes(hub, identity),
        *_permit_routes(hub, identity, limit),
        *_run_routes(hub, identity, limit),
        *_key_routes(hub),
    ]


def _request_routes(hub: Hub, identity: Identity, limit: RateLimit) -> list[Route]:
    async def submit(request: Request) -> Response:
        who = await identity.identify(request)
        draft = _draft(await json_object(request))
        limit.spend(who.subject)
        made = await run_in_threadpool(requests.submit, hub, who, draft)
        return JSONResponse(request_to_json(made), 201)

    async def own(request: Request) -> Response:
        who = await identity.identify(request)
        no_parameters(request)
        found = await run_in_threadpool(requests.own, hub, who)
        return JSONResponse({"requests": [request_to_json(item) for item in found]})

    async def one(request: Request) -> Response:
        who = await identity.identify(request)
        no_parameters(request)
        found = await run_in_threadpool(requests.get, hub, who, request.path_params["id"])
        return JSONResponse(request_to_json(found))

    return [
        Route("/api/requests", submit, methods=["POST"]),
        Route("/api/requests", own),
        Route(f"/api/requests/{_ID}", one),
    ]


def _draft(value: Json) -> Draft:
    names = ("project", "purpose", "organisation", "last_day")
    lists = ("people", "actions", "datasets")
    _only(value, (*names, "description", *lists))
    return Draft(
        **{name: _text(value, name) for name in (*names, "description")},
        people=_texts(value, "people"),
        actions=actions(_texts(value, "actions")),
        datasets=_texts(value, "datasets"),
    )


def _item_routes(hub: Hub, identity: Identity) -> list[Route]:
    async def step(request: Request) -> Response:
        who = await identity.identify(request)
        value = await json_object(request)
        entry = await run_in_threadpool(_take_step, hub, who, request.path_params["id"], value)
        return JSONResponse(_entry_to_json(*entry))

    async def queue(request: Request) -> Response:
        who = await identity.identify(request)
        every = request.query_params.get("all")
        if set(request.query_params) - {"all"} or every not in (None, "1"):
            raise BadInput("This takes all=1, and nothing else.", "Remove it from the address.")
        found = await run_in_threadpool(_queue, hub, who, every is not None)
        return JSONResponse({"items": [_entry_to_json(*entry) for entry in found]})

    return [Route(f"/api/items/{_ID}", step, methods=["POST"]), Route("/api/committee", queue)]


def _queue(hub: Hub, who: Principal, every: bool) -> list[tuple[AccessRequest, Item]]:
    return requests.queue(hub, who, all=every)


def _take_step(hub: Hub, who: Principal, item: str, value: Json) -> tuple[AccessRequest, Item]:
    """One step of an item: `answer` and `withdraw` are the researcher's, the others the committee's."""
    match value.get("step"):
        case "answer":
            _only(value, ("step", "words"))
            requests.answer(hub, who, item, _text(value, "words"))
        case "withdraw":
            _only(value, ("step",))
            requests.withdraw(hub, who, item)
        case "ask":
            _only(value, ("step", "words"))
            requests.ask(hub, who, item, _text(value, "words"))
        case "refuse":
            _only(value, ("step", "reason"))
            requests.refuse(hub, who, item, _text(value, "reason"))
        case "grant":
            requests.grant(hub, who, item, _decision(value))
        case _:
            raise BadInput("The step is missing or unknown.", f"Choose among {', '.join(_STEPS)}.")
    return requests.item(hub, who, item)


def _decision(value: Json) -> Decision:
    _only(value, ("step", "actions", "last_day", "version", "reason", "conditions"))
    return Decision(
        actions=actions(_texts(value, "actions")),
        last_day=_text(value, "last_day"),
        version=_text({"version": LIVE, **value}, "version"),
        reason=_text(value, "reason"),
        conditions=_text(value, "conditions"),
    )


def _entry_to_json(request: AccessRequest, item: Item) -> Json:
    return {"request": request_to_json(request), "item": item_to_json(item)}


def _permit_routes(hub: Hub, identity: Identity, limit: RateLimit) -> list[Route]:
    async def listed(request: Request) -> Response:
        who = await identity.identify(request)
        no_parameters(request)
        found = await run_in_threadpool(permits.listed, hub, who)
        return JSONResponse({"permits": [permit_to_json(permit) for permit in found]})

    async def one(request: Request) -> Response:
        who = await identity.identify(request)
        no_parameters(request)
        found = await run_in_threadpool(permits.get, hub, who, request.path_params["id"])
        return JSONResponse(permit_to_json(found))

    async def revoke(request: Request) -> Response:
        who = await identity.identify(request)
        value = await json_object(request)
        _only(value, ("why",))
        ended = await run_in_threadpool(permits.revoke, hub, who, request.path_params["id"], _text(value, "why"))
        return JSONResponse(permit_to_json(ended))

    async def enter(request: Request) -> Response:
        who = await identity.identify(request)
        await _nothing(request)
        limit.spend(who.subject)
        handover = await run_in_threadpool(permits.handover, hub, who, request.path_params["id"])
        return JSONResponse({"url": handover.url, "code": handover.code}, 201)

    return [
        Route("/api/permits", listed),
        Route(f"/api/permits/{_ID}", one),
        Route(f"/api/permits/{_ID}/revoke", revoke, methods=["POST"]),
        Route(f"/api/permits/{_ID}/enter", enter, methods=["POST"]),
    ]


def _run_routes(hub: Hub, identity: Identity, limit: RateLimit) -> list[Route]:
    async def analyses(request: Request) -> Response:
        no_parameters(request)
        return JSONResponse({"analyses": [analysis_to_json(analysis) for analysis in ANALYSES.values()]})

    async def start(request: Request) -> Response:
        who = await identity.identify(request)
        value = await json_object(request)
        _only(value, ("permits", "analysis", "title"))
        chosen, analysis, title = _texts(value, "permits"), _text(value, "analysis"), _text(value, "title")
        limit.spend(who.subject)
        return JSONResponse(run_to_json(await run_in_threadpool(runs.start, hub, who, chosen, analysis, title)), 201)

    async def listed(request: Request) -> Response:
        who = await identity.identify(request)
        no_parameters(request)
        found = await run_in_threadpool(runs.listed, hub, who)
        return JSONResponse({"runs": [run_to_json(run) for run in found]})

    async def one(request: Request) -> Response:
        who = await identity.identify(request)
        no_parameters(request)
        return JSONResponse(run_to_json(await run_in_threadpool(runs.get, hub, who, request.path_params["id"])))

    async def table(request: Request) -> Response:
        who = await identity.identify(request)
        no_parameters(request)
        found = await run_in_threadpool(runs.get, hub, who, request.path_params["id"])
        return csv_file(run_to_csv(found), f"run-{found.id}.csv")

    async def cancel(request: Request) -> Response:
        who = await identity.identify(request)
        await _nothing(request)
        await run_in_threadpool(runs.cancel, hub, who, request.path_params["id"])
        return JSONResponse(run_to_json(await run_in_threadpool(runs.get, hub, who, request.path_params["id"])))

    return [
        Route("/api/analyses", analyses),
        Route("/api/runs", start, methods=["POST"]),
        Route("/api/runs", listed),
        Route(f"/api/runs/{_ID}.csv", table),
        Route(f"/api/runs/{_ID}", one),
        Route(f"/api/runs/{_ID}/cancel", cancel, methods=["POST"]),
    ]


def csv_file(text: str, name: str) -> Response:
    """A table to keep as a file; RFC 4180."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, headers=headers, media_type="text/csv; charset=utf-8; header=present")


def _key_routes(hub: Hub) -> list[Route]:
    async def keys(request: Request) -> Response:
        no_parameters(request)
        return JSONResponse(permits.public_jwks(hub))

    return [Route("/.well-known/jwks.json", keys)]


async def _nothing(request: Request) -> None:
    """Raise `BadInput` for a body that says anything, where the address says it all."""
    if await request.body() and await json_object(request):
        raise BadInput("This takes no values.", "Send an empty body, or {}.")


def _only(value: Json, names: tuple[str, ...]) -> None:
    unknown = ", ".join(f"'{name[:40]}'" for name in value if name not in names)
    if unknown:
        raise BadInput(f"Not known here: {unknown}.", f"The members are: {', '.join(names)}.")


def _text(value: Json, name: str) -> str:
    """The text of a member; one that is not there is empty, which its service judges."""
    text: Any = value.get(name, "")
    if not isinstance(text, str):
        raise BadInput(f"'{name}' is no text.")
    return text


def _texts(value: Json, name: str) -> tuple[str, ...]:
    items: Any = value.get(name, [])
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise BadInput(f"'{name}' is no list of texts.")
    return tuple(items)
