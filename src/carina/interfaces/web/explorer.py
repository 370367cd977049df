"""The explorer: a cohort in the address, and each node's counts as they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from carina.errors import CarinaError, InvalidQuery
from carina.hub.centre import Hub
from carina.interfaces.api.hub import Search, audit_search
from carina.interfaces.api.problems import unexpected
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.language import gettext as _
from carina.interfaces.language import mark, ngettext
from carina.interfaces.web.pages import Pages
from carina.interfaces.web.snippets import search_snippets
from carina.interfaces.web.words import number, terms_of, variable_label
from carina.model.cohort import All, Between, OneOf, Query, from_pairs, to_pairs
from carina.model.ids import NodeId
from carina.model.principal import Principal
from carina.model.search import NodeAnswer, Total, total
from carina.model.variables import RANGES, VARIABLES, Variable, require_known

ListNodes: TypeAlias = Callable[[], Sequence["NodeCard"]]

OPEN_AT_FIRST = "modality"
COMMON = {"diagnosis": ("C50", "C61", "C34", "C18", "C20", "C22", "C25", "C64", "C71", "C77")}
"""Of a long list, the values that the form shows first; the others are one step away."""
WORDS = ("everyone", "wait")  # of the address, beside the query: ask without a term; show the answers once all are in
SIDES = {f"{name}_{side}": (name, side) for name in RANGES for side in ("from", "to")}


@dataclass(frozen=True)
class NodeCard:
    """A node as the pages show it. `datasets`: the IRIs of those it has published."""

    id: NodeId
    title: str
    institution: str
    country: str
    online: bool
    last_seen: str | None
    joined_at: str
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A node's row of the results; `answer` is None while it is asked."""

    id: NodeId
    title: str
    country: str
    datasets: int
    datasets_path: str
    answer: NodeAnswer | None = None


@dataclass(frozen=True)
class FormVariable:
    """A variable as the form shows it: its values, the common ones and the others, and what is chosen."""

    name: str
    label: str
    kind: str
    values: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str], ...]
    others_opened: bool
    codes: bool
    opened: bool
    picked: str
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Example:
    """A search to begin with. `title` is a text to be translated where it is shown."""

    title: str
    query: Query
    path: str

    @property
    def terms(self) -> str:
        """The query in words."""
        return " · ".join(terms_of(self.query))


def example(title: str, pairs: Sequence[tuple[str, str]]) -> Example:
    """An example from the pairs of its address."""
    query = from_pairs(pairs, RANGES)
    require_known(query)
    return Example(title, query, f"/explorer?{urlencode(pairs)}")


EXAMPLES = (
    example(mark("CT of the chest"), [("modality", "CT"), ("body_part", "CHEST")]),
    example(mark("Magnetic resonance"), [("modality", "MR")]),
    example(mark("Lung cancer, 50 to 80 years"), [("diagnosis", "C34"), ("age", "50-80")]),
)


def explorer_routes(hub: Hub, pages: Pages, nodes: ListNodes, search: Search, limit: RateLimit) -> list[Route]:
    """`/explorer`, whose address holds the query, and `/explorer/answers`, the stream of its answers.

    limit   spent by each search of a person

    A search is audited when the nodes are asked: by the stream, or by the page when that waits for all answers.
    """

    async def explorer(request: Request) -> Response:
        who = await pages.identity.identify(request)
        pairs = request.query_params.multi_items()
        if canonical(pairs) != pairs:
            return RedirectResponse(f"/explorer?{urlencode(canonical(pairs))}", 303)
        context: dict[str, object] = {"asked": bool(pairs), "problem": None}
        query: Query = All(())
        try:
            query = query_of(pairs)
            require_known(query)
            if pairs:
                context |= await results(query, who if ("wait", "1") in pairs else None)
        except InvalidQuery as error:
            context["problem"] = error
        context |= {"chosen": chosen(query), "variables": form_variables(query, bool(pairs)), "examples": EXAMPLES}
        status = 200 if context["problem"] is None else 400
        return await pages.render(request, "hub/explorer.html", status, **context, threshold=hub.threshold)

    async def results(query: Query, waits: Principal | None) -> dict[str, object]:
        """What the page shows; for somebody who waits, with all answers, else with the address of their stream."""
        rows = rows_of(await run_in_threadpool(nodes))
        pairs = to_pairs(query)
        answers: list[NodeAnswer] = []
        if waits:
            limit.spend(waits.subject)
            await run_in_threadpool(audit_search, hub, waits, query)
            answers = [answer async for answer in search(query)]
        return {
            "terms": terms_of(query),
            "stream": None if waits else f"/explorer/answers?{urlencode(pairs)}",
            "again_path": f"/explorer?{urlencode(pairs or [('everyone', '1')])}",
            "waiting_path": f"/explorer?{urlencode([*(pairs or [('everyone', '1')]), ('wait', '1')])}",
            "rows": filled(rows, answers),
            "snippets": search_snippets(hub.url, query),
            **outcome(answers, 0 if waits else len(rows)),
        }

    async def answers(request: Request) -> Response:
        who = await pages.identity.identify(request)
        query = query_of(request.query_params.multi_items())
        require_known(query)
        rows = {row.id: row for row in rows_of(await run_in_threadpool(nodes))}
        return StreamingResponse(
            events(pages, request, found(who, query), rows),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def found(who: Principal, query: Query) -> AsyncIterator[NodeAnswer]:
        limit.spend(who.subject)
        await run_in_threadpool(audit_search, hub, who, query)
        async for answer in search(query):
            yield answer

    return [
        Route("/explorer", explorer, methods=["GET"]),
        Route("/explorer/answers", answers, methods=["GET"]),
    ]


async def events(
    pages: Pages, request: Request, found: AsyncIterator[NodeAnswer], rows: Mapping[NodeId, Row]
) -> AsyncIterator[str]:
    """One server-sent event per node's row, each followed by the new total; `end` closes the stream.

    A node that is not on the page (it joined since) enters the total only. A search that fails says why, then ends.
    """
    seen: list[NodeAnswer] = []
    waiting = set(rows)
    try:
        async for answer in found:
            seen.append(answer)
            waiting.discard(answer.node)
            if answer.node in rows:
                row = replace(rows[answer.node], answer=answer)
                yield event(answer.node, pages.text(request, "hub/row.html", row=row, stream=None))
            yield event("total", pages.text(request, "hub/sum.html", **outcome(seen, len(waiting))))
    except CarinaError as error:
        yield event("failed", pages.text(request, "problem.html", error=error))
    except Exception as error:  # noqa: BLE001  the response has begun: this is the only way left to say so
        yield event("failed", pages.text(request, "problem.html", error=unexpected(error)))
    yield event("end", "")


def event(name: str, text: str) -> str:
    """A server-sent event (WHATWG HTML section 9.2.5)."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"event: {name}\n" + "".join(f"data: {line}\n" for line in lines or [""]) + "\n"


def canonical(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The address as it is shared: empty fields gone, `age_from` and `age_to` joined, `everyone=1` for no term."""
    sides = {name: value.strip() for name, value in pairs if name in SIDES}
    kept = [(name, value) for name, value in pairs if name not in SIDES and value.strip()]
    for name in RANGES:
        low, high = sides.get(f"{name}_from", ""), sides.get(f"{name}_to", "")
        if low or high:
            kept.append((name, f"{low}-{high}"))
    if pairs and not [name for name, _ in kept if name not in WORDS] and ("everyone", "1") not in kept:
        kept.insert(0, ("everyone", "1"))
    return kept


def query_of(pairs: Sequence[tuple[str, str]]) -> Query:
    """The query of an address, unknown terms kept. Raises `InvalidQuery`."""
    return from_pairs([(name, value) for name, value in pairs if name not in WORDS], RANGES)


def chosen(query: Query) -> dict[str, tuple[str, ...]]:
    """The values chosen by variable's name."""
    parts = getattr(query, "parts", ())
    return {part.variable: part.values for part in parts if isinstance(part, OneOf)}


def form_variables(query: Query, asked: bool) -> list[FormVariable]:
    """The form's groups; those with a choice are open, and before anything is asked the first one."""
    picked = chosen(query)
    ranges = {part.variable: part for part in getattr(query, "parts", ()) if isinstance(part, Between)}
    return [_form_variable(item, picked.get(item.name, ()), ranges.get(item.name), asked) for item in VARIABLES]


def _form_variable(variable: Variable, values: tuple[str, ...], between: Between | None, asked: bool) -> FormVariable:
    low = "" if between is None or between.low is None else str(between.low)
    high = "" if between is None or between.high is None else str(between.high)
    known = [value for value, _ in variable.values if value in values]
    common = COMMON.get(variable.name, [value for value, _ in variable.values])
    labels = dict(variable.values)
    picked = f"{low}–{high}" if between else str(len(known) or "")
    return FormVariable(
        name=variable.name,
        label=variable_label(variable.name),
        kind=variable.kind,
        values=tuple((value, _(labels[value])) for value in common),
        others=tuple((value, _(label)) for value, label in variable.values if value not in common),
        others_opened=any(value not in common for value in known),
        codes=variable.name in ("modality", "diagnosis"),
        opened=bool(picked) or (variable.name == OPEN_AT_FIRST and not asked),
        picked=picked,
        low=low,
        high=high,
    )


def rows_of(nodes: Sequence[NodeCard]) -> list[Row]:
    """A row for each node that will be asked."""
    return [Row(node.id, node.title, node.country, len(node.datasets), _datasets_path(node)) for node in nodes]


def _datasets_path(node: NodeCard) -> str:
    return f"/datasets/{node.datasets[0]}" if len(node.datasets) == 1 else f"/datasets?node={node.id}"


def filled(rows: Sequence[Row], answers: Sequence[NodeAnswer]) -> list[Row]:
    """The rows with their answers; a node that joined since gets a row of its own."""
    by_node = {answer.node: answer for answer in answers}
    known = [replace(row, answer=by_node.pop(row.id, None)) for row in rows]
    return known + [Row(a.node, a.title, a.country, 0, "", a) for a in by_node.values()]


def outcome(answers: Sequence[NodeAnswer], waiting: int) -> dict[str, object]:
    """What the line of the total says."""
    summed = total(list(answers))
    return {"total": summed, "waiting": waiting, "sentence": sentence(summed, waiting)}


def sentence(summed: Total, waiting: int) -> str:
    """What the total is made of: `Sum of 2 shown nodes, and 1 node below the threshold; 1 node did not answer.`"""
    shown, hidden = summed.counted, summed.below_threshold
    said = _counted(shown, ngettext("Sum of {n} shown node", "Sum of {n} shown nodes", shown))
    if hidden:
        below = _counted(hidden, ngettext("{n} node below the threshold", "{n} nodes below the threshold", hidden))
        said = (_("{sum}, and {below}") if shown else _("No number to show: {below}")).format(sum=said, below=below)
    elif not shown:
        said = _("No node gave a number")
    unknown, refused, silent = summed.unknown, summed.refused, summed.silent
    further = (
        (unknown, ngettext("{n} node does not know all terms", "{n} nodes do not know all terms", unknown)),
        (refused, ngettext("{n} node refused", "{n} nodes refused", refused)),
        (silent, ngettext("{n} node did not answer", "{n} nodes did not answer", silent)),
        (waiting, ngettext("{n} node is still asked", "{n} nodes are still asked", waiting)),
    )
    return "; ".join([said, *(_counted(count, text) for count, text in further if count)]) + "."


def _counted(count: int, text: str) -> str:
    return text.format(n=number(count))
