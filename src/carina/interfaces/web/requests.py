"""Requests for access: the form, a person's own list, and one request with each dataset's state and history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.errors import BadInput, CarinaError, Conflict, NotFound, TooMany
from carina.hub import committee, permits, requests, terms
from carina.hub.catalogue import Entry, list_datasets
from carina.hub.centre import Hub
from carina.hub.permits import Condition, Permit
from carina.hub.requests import AccessRequest, Draft, Item
from carina.interfaces.api.problems import status_of
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.language import mark
from carina.interfaces.web.pages import Link, Pages, back
from carina.interfaces.web.words import item_word
from carina.model.clock import now
from carina.model.permit import ACTIONS, Action
from carina.model.permit import actions as checked_actions
from carina.model.principal import Principal

Standing: TypeAlias = Mapping[str, tuple[Permit, Condition]]
"""Permits by id, each with how it stands now."""

MOST_FIELDS = 120  # of a form: every dataset of a request and what stands beside them
TAKEN = {"answer": "answered", "withdraw": "withdrawn"}  # the word for a step once it is taken

# What a page says after something was done; the address holds the word only.
DONE = {
    "submitted": mark("Your request is with the committees. This page shows what each decides."),
    "answered": mark("Your answer is with the committee."),
    "withdrawn": mark("Withdrawn. Nobody decides on it any more."),
}


@dataclass(frozen=True)
class Typed:
    """What the form holds, as it was typed; `people` has a name in each line."""

    project: str = ""
    purpose: str = ""
    description: str = ""
    organisation: str = ""
    people: str = ""
    last_day: str = ""
    actions: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()

    @classmethod
    def of(cls, form: FormData) -> Typed:
        """What was sent."""
        names = ("project", "purpose", "description", "organisation", "people", "last_day")
        texts = {name: str(form.get(name, "")).replace("\r\n", "\n").strip() for name in names}
        return cls(**texts, actions=_several(form, "actions"), datasets=_several(form, "dataset"))

    def draft(self) -> Draft:
        """The request; `BadInput` when an action is unknown or none is chosen."""
        return Draft(
            project=self.project,
            purpose=self.purpose,
            description=self.description,
            organisation=self.organisation,
            people=tuple(name.strip() for name in self.people.splitlines() if name.strip()),
            actions=checked_actions(self.actions),
            last_day=self.last_day,
            datasets=self.datasets,
        )


@dataclass(frozen=True)
class Offer:
    """An action that the form offers; `without`: titles of the chosen datasets whose terms leave it out."""

    action: Action
    without: tuple[str, ...]


def request_routes(hub: Hub, pages: Pages, limit: RateLimit) -> list[Route]:
    """`/requests`, `/requests/new`, `/requests/{id}` and the steps that a researcher takes there.

    limit   spent by each request that a person sends
    """

    async def listed(request: Request) -> Response:
        who = await pages.identity.identify(request)
        own = await run_in_threadpool(requests.own, hub, who)
        stands = standing(await run_in_threadpool(permits.listed, hub, who))
        rows = [(each, tally(each, stands)) for each in own]
        return await pages.render(request, "hub/requests.html", requests=rows)

    async def new(request: Request) -> Response:
        await pages.identity.identify(request)
        given = request.query_params.getlist("dataset")[:MOST_FIELDS]
        return await form(request, Typed(datasets=tuple(dict.fromkeys(given))))

    async def form(request: Request, typed: Typed, problem: CarinaError | None = None) -> Response:
        entries = await run_in_threadpool(list_datasets, hub)
        chosen = [entry for entry in entries if entry.dataset.iri in typed.datasets]
        status = 200 if problem is None else status_of(problem)
        context = form_context(chosen) | {"gone": len(set(typed.datasets)) - len(chosen)}
        return await pages.render(request, "hub/request_new.html", status, typed=typed, problem=problem, **context)

    async def submit(request: Request) -> Response:
        who = await pages.identity.identify(request)
        async with request.form(max_files=0, max_fields=MOST_FIELDS) as sent:
            typed = Typed.of(sent)
        try:
            limit.spend(who.subject)
            made = await run_in_threadpool(lambda: requests.submit(hub, who, typed.draft()))
        except (BadInput, NotFound, Conflict, TooMany) as error:
            return await form(request, typed, error)
        return back(f"/requests/{made.id}", "submitted")

    return [
        Route("/requests", listed, methods=["GET"]),
        Route("/requests/new", new, methods=["GET"]),
        Route("/requests/new", submit, methods=["POST"]),
        *_one(hub, pages),
    ]


def _one(hub: Hub, pages: Pages) -> list[Route]:
    async def one(request: Request) -> Response:
        return await show(request)

    async def show(request: Request, problem: CarinaError | None = None, item: str = "", words: str = "") -> Response:
        who = await pages.identity.identify(request)
        found = await run_in_threadpool(requests.get, hub, who, request.path_params["id"])
        granted = [item.permit for item in found.items if item.permit]
        given = await run_in_threadpool(lambda: [permits.get(hub, who, permit) for permit in granted])
        stands = standing(given)
        own = found.account == who.subject
        return await pages.render(
            request,
            "hub/request.html",
            200 if problem is None else status_of(problem),
            asked=found,
            standing=stands,
            tally=tally(found, stands),
            own=own,
            above=Link("/requests", mark("Your requests")) if own else await run_in_threadpool(above_others, hub, who),
            problem=problem,
            problem_item=item,
            words_typed=words,
            done=DONE.get(request.query_params.get("done", ""), ""),
        )

    async def step(request: Request) -> Response:
        """A researcher's step with one dataset of a request: an answer, or back out."""
        who = await pages.identity.identify(request)
        async with request.form(max_files=0, max_fields=10) as sent:
            given = {name: str(sent.get(name, "")).strip() for name in ("step", "item", "words")}
        try:
            if given["step"] == "answer":
                await run_in_threadpool(requests.answer, hub, who, given["item"], given["words"])
            elif given["step"] == "withdraw":
                await run_in_threadpool(requests.withdraw, hub, who, given["item"])
            else:
                raise BadInput("This form asks for nothing that is known here.")
        except (BadInput, Conflict) as error:
            return await show(request, error, given["item"], given["words"])
        return back(f"/requests/{request.path_params['id']}", TAKEN[given["step"]])

    return [
        Route("/requests/{id}", one, methods=["GET"]),
        Route("/requests/{id}", step, methods=["POST"]),
    ]


def above_others(hub: Hub, who: Principal) -> Link:
    """The page above what somebody else asked for: the committee's, or home for an operator who is in none."""
    return Link("/committee", mark("Committee")) if committee.nodes_of(hub, who.subject) else Link("/", mark("Home"))


def form_context(chosen: Sequence[Entry]) -> dict[str, Any]:
    """What the form says of the chosen datasets: the actions on offer, and the last day that suits all of them."""
    today = terms.today()
    return {
        "chosen": chosen,
        "offers": offers(chosen),
        "today": today.isoformat(),
        "latest": min((terms.latest_day(entry) for entry in chosen), default=today).isoformat(),
    }


def offers(chosen: Sequence[Entry]) -> list[Offer]:
    """The actions that at least one of the datasets allows."""
    made = []
    for action in ACTIONS:
        without = tuple(entry.dataset.title for entry in chosen if action not in terms.offered(entry))
        if len(without) < len(chosen):
            made.append(Offer(action, without))
    return made


def standing(given: Iterable[Permit]) -> Standing:
    """How these permits stand now."""
    at = now()
    return {permit.id: (permit, permit.condition_of(at)) for permit in given}


def word_of(item: Item, stands: Standing) -> tuple[str, str]:
    """An item's word and colour."""
    permit = stands.get(item.permit or "")
    return item_word(item.state, permit[1] if permit else None)


def tally(asked: AccessRequest, stands: Standing) -> list[tuple[str, str, int]]:
    """How many of the datasets are in each state: word, colour, number."""
    return [(*word, count) for word, count in Counter(word_of(item, stands) for item in asked.items).items()]


def _several(form: FormData, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(value).strip() for value in form.getlist(name)))
