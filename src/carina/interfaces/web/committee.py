"""A committee's pages: what waits for a decision, and the decision on one dataset of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from carina.errors import BadInput, CarinaError, Conflict, NotAllowed, NotFound, TooMany
from carina.hub import committee, permits, requests, terms
from carina.hub.catalogue import Entry, get_dataset
from carina.hub.centre import Hub
from carina.hub.requests import AccessRequest, Decision, Item
from carina.interfaces.api.problems import status_of
from carina.interfaces.language import mark
from carina.interfaces.web.pages import Pages, back
from carina.interfaces.web.requests import Standing, standing
from carina.model.permit import LIVE
from carina.model.permit import actions as checked_actions
from carina.model.principal import Principal

OPEN = ("waiting", "asked")
OVER = ("ended", "expired")
DONE = {
    "granted": mark("Granted. The permit goes to the node now."),
    "refused": mark("Refused. The researcher sees your reason."),
    "asked": mark("The question is with the researcher."),
}


@dataclass(frozen=True)
class Typed:
    """What the forms of a decision hold, as it was typed. `step`: the form that was sent."""

    step: str = ""
    actions: tuple[str, ...] = ()
    last_day: str = ""
    version: str = LIVE
    conditions: str = ""
    reason: str = ""
    words: str = ""

    @classmethod
    def of(cls, form: FormData) -> Typed:
        """What was sent."""
        names = ("step", "last_day", "version", "conditions", "reason", "words")
        texts = {name: str(form.get(name, "")).replace("\r\n", "\n").strip() for name in names}
        return cls(**texts, actions=tuple(str(value) for value in form.getlist("actions")))

    def decision(self) -> Decision:
        """The decision to grant; `BadInput` when no action is chosen or one is unknown."""
        return Decision(
            actions=checked_actions(self.actions),
            last_day=self.last_day,
            version=self.version or LIVE,
            reason=self.reason,
            conditions=self.conditions,
        )


def committee_routes(hub: Hub, pages: Pages) -> list[Route]:
    """`/committee` and `/committee/{item}`."""

    async def queue(request: Request) -> Response:
        who = await pages.identity.identify(request)
        every = request.query_params.get("all") == "1"
        shown = await run_in_threadpool(_queue, hub, who, every)
        done = DONE.get(request.query_params.get("done", ""), "")
        return await pages.render(request, "hub/committee.html", **shown, every=every, done=done)

    async def one(request: Request) -> Response:
        return await show(request, None)

    async def show(request: Request, typed: Typed | None, problem: CarinaError | None = None) -> Response:
        who = await pages.identity.identify(request)
        asked, item, entry, stands = await run_in_threadpool(_case, hub, who, request.path_params["item"])
        if not await run_in_threadpool(committee.is_member, hub, item.node, who.subject):
            return RedirectResponse(f"/requests/{asked.id}", 303)
        context = decision_context(asked, item, entry, typed)
        status = 200 if problem is None else status_of(problem)
        own = asked.account == who.subject
        return await pages.render(
            request, "hub/decision.html", status, **context, standing=stands, own=own, problem=problem
        )

    async def decide(request: Request) -> Response:
        who = await pages.identity.identify(request)
        async with request.form(max_files=0, max_fields=20) as sent:
            typed = Typed.of(sent)
        try:
            await run_in_threadpool(_decide, hub, who, request.path_params["item"], typed)
        except (BadInput, Conflict, TooMany) as error:
            return await show(request, typed, error)
        return back("/committee", {"grant": "granted", "refuse": "refused", "ask": "asked"}[typed.step])

    return [
        Route("/committee", queue, methods=["GET"]),
        Route("/committee/{item}", one, methods=["GET"]),
        Route("/committee/{item}", decide, methods=["POST"]),
    ]


def _queue(hub: Hub, who: Principal, every: bool) -> dict[str, Any]:
    """What waits, and the permits of the nodes whose committee this person is in; `every`: also what is over."""
    of = committee.nodes_of(hub, who.subject)
    if not of:
        raise NotAllowed("You are in no committee.", "The hub's operator names members: `carina hub committee add`.")
    queue = requests.queue(hub, who, all=every)
    given = standing([permit for node in of for permit in permits.of_node(hub, who, node)])
    return {
        "waiting": [(asked, item) for asked, item in queue if item.state == "waiting"],
        "asked": [(asked, item) for asked, item in queue if item.state == "asked"],
        "decided": [(asked, item) for asked, item in queue if item.state not in OPEN],
        "permits": [pair for pair in given.values() if every or pair[1] not in OVER],
        "standing": given,
        "own": who.subject,
    }


def _case(hub: Hub, who: Principal, item_id: str) -> tuple[AccessRequest, Item, Entry | None, Standing]:
    """The request, the item, the dataset if it is still in the catalogue, and the permit if there is one."""
    asked, item = requests.item(hub, who, item_id)
    stands = standing([permits.get(hub, who, item.permit)] if item.permit else [])
    try:
        return asked, item, get_dataset(hub, item.dataset), stands
    except NotFound:
        return asked, item, None, stands


def _decide(hub: Hub, who: Principal, item_id: str, typed: Typed) -> None:
    match typed.step:
        case "grant":
            requests.grant(hub, who, item_id, typed.decision())
        case "refuse":
            requests.refuse(hub, who, item_id, typed.reason)
        case "ask":
            requests.ask(hub, who, item_id, typed.words)
        case _:
            raise BadInput("This form asks for nothing that is known here.")


def decision_context(asked: AccessRequest, item: Item, entry: Entry | None, typed: Typed | None) -> dict[str, Any]:
    """The page's values: only what was asked for and the dataset's terms allow can be granted."""
    may = terms.offered(entry) if entry else ()
    choices = [action for action in asked.actions if action in may]
    latest = min(asked.last_day, terms.latest_day(entry).isoformat()) if entry else asked.last_day
    return {
        "asked": asked,
        "item": item,
        "entry": entry,
        "offered": may,
        "choices": choices,
        "beyond": [action for action in asked.actions if action not in may],
        "typed": typed or Typed(actions=tuple(choices), last_day=latest),
        "open": item.state in OPEN,
        "today": terms.today().isoformat(),
        "latest": latest,
    }
