"""What a signed-in person does about access: requests, permits, runs; and for committees, decisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from carina.interfaces.api.access_documents import (
    AccessRequest,
    Item,
    Permit,
    item_from_json,
    permit_from_json,
    request_from_json,
)
from carina.interfaces.api.exports import Run, analysis_from_json, run_from_json
from carina.interfaces.client.connection import Connection, read
from carina.model.dataset import DatasetDescription
from carina.model.job import SIGNAL_STATISTICS, Analysis
from carina.model.permit import LIVE, Action

if TYPE_CHECKING:
    from carina.interfaces.client.archive import Archive

CSV = "text/csv"


class Access:
    """The part of `Client` that needs an account. Everything that is named by its id may be given itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # --- requests -----------------------------------------------------------------------------------------------

    def request(
        self,
        datasets: Iterable[DatasetDescription | str],
        *,
        project: str,
        purpose: str,
        organisation: str,
        last_day: date | str,
        actions: Iterable[Action] = ("analyse",),
        description: str = "",
        people: Iterable[str] = (),
    ) -> AccessRequest:
        """Ask for access to datasets (or their IRIs); the committee of each one's node decides.

        last_day   the last one on which access is wanted, as 2027-03-01
        actions    of `view` (pictures), `retrieve` (DICOM objects) and `analyse` (runs)
        people     names of those who would work with the data

        Raises `BadInput` that says what is missing or beyond what a dataset's node allows, `NotFound`, `NotSignedIn`.
        """
        draft = {
            "project": project,
            "purpose": purpose,
            "description": description,
            "organisation": organisation,
            "people": list(people),
            "actions": list(actions),
            "last_day": str(last_day),
            "datasets": [dataset if isinstance(dataset, str) else dataset.iri for dataset in datasets],
        }
        value = self._connection.post("/api/requests", draft)
        return read(lambda: request_from_json(value))

    def requests(self) -> list[AccessRequest]:
        """Your own, newest first."""
        value = self._connection.get("/api/requests")
        return read(lambda: [request_from_json(item) for item in value["requests"]])

    def request_state(self, request: AccessRequest | str) -> AccessRequest:
        """A request as it stands now, or `NotFound`."""
        value = self._connection.get(f"/api/requests/{_id(request)}")
        return read(lambda: request_from_json(value))

    def answer(self, item: Item | str, words: str) -> Item:
        """Answer the question of an item's committee; it is the committee's turn again."""
        return self._step(item, {"step": "answer", "words": words})

    def withdraw(self, item: Item | str) -> Item:
        """Take an item back that is not decided yet."""
        return self._step(item, {"step": "withdraw"})

    # --- committees ---------------------------------------------------------------------------------------------

    def committee(self, *, decided: bool = False) -> list[tuple[AccessRequest, Item]]:
        """The items that your committees have to decide, oldest first; with `decided` all others too."""
        value = self._connection.get("/api/committee", [("all", "1")] if decided else [])
        return read(
            lambda: [(request_from_json(entry["request"]), item_from_json(entry["item"])) for entry in value["items"]]
        )

    def decide(
        self,
        item: Item | str,
        step: Literal["grant", "refuse", "ask"],
        words: str,
        *,
        actions: Iterable[Action] = (),
        last_day: date | str = "",
        version: str = LIVE,
        conditions: str = "",
    ) -> Item:
        """Decide on an item as a member of its committee; `words` are the reason, or the question to `ask`.

        To `grant` also needs `actions` and `last_day`, at most those asked for; `version` is `live` or the number of
        a snapshot; `conditions` are words for the researcher.

        Raises `NotAllowed` (not your committee, or your own request), `Conflict` (decided already), `BadInput`.
        """
        if step == "grant":
            granted = {"actions": list(actions), "last_day": str(last_day), "version": version, "reason": words}
            return self._step(item, {"step": step, **granted, "conditions": conditions})
        return self._step(item, {"step": step, "words" if step == "ask" else "reason": words})

    def _step(self, item: Item | str, content: dict[str, Any]) -> Item:
        value = self._connection.post(f"/api/items/{_id(item)}", content)
        return read(lambda: item_from_json(value["item"]))

    # --- permits ------------------------------------------------------------------------------------------------

    def permits(self) -> list[Permit]:
        """Your own, newest first, with those that have ended."""
        value = self._connection.get("/api/permits")
        return read(lambda: [permit_from_json(item) for item in value["permits"]])

    def permit_state(self, permit: Permit | str) -> Permit:
        """A permit as it stands now, or `NotFound`."""
        value = self._connection.get(f"/api/permits/{_id(permit)}")
        return read(lambda: permit_from_json(value))

    def revoke(self, permit: Permit | str, why: str = "") -> Permit:
        """End a permit: your own, or as a member of its committee, who must say why."""
        value = self._connection.post(f"/api/permits/{_id(permit)}/revoke", {"why": why})
        return read(lambda: permit_from_json(value))

    def open(self, permit: Permit | str) -> Archive:
        """The images under a permit, at the node that holds them; use it in a `with` block.

        Raises `PermitDenied` in the words of the hub (not in force, for analyses only, a node that shows no images) or
        of the node, and `Unreachable` when the node is away.
        """
        from carina.interfaces.client.archive import enter

        value = self._connection.post(f"/api/permits/{_id(permit)}/enter", {})
        return enter(*read(lambda: (str(value["url"]), str(value["code"]))))

    # --- runs ---------------------------------------------------------------------------------------------------

    def analyses(self) -> list[Analysis]:
        """What a run can compute."""
        value = self._connection.get("/api/analyses")
        return read(lambda: [analysis_from_json(item) for item in value["analyses"]])

    def run(
        self, permits: Sequence[Permit | str], analysis: Analysis | str = SIGNAL_STATISTICS.name, title: str = ""
    ) -> Run:
        """Begin an analysis over the datasets of these permits; ask for it again with `run_state`.

        Raises `PermitDenied` that names the dataset whose permit does not cover it, `NotFound` (no such analysis).
        """
        name = analysis if isinstance(analysis, str) else analysis.name
        content = {"permits": [_id(permit, plain=True) for permit in permits], "analysis": name, "title": title}
        value = self._connection.post("/api/runs", content)
        return read(lambda: run_from_json(value))

    def runs(self) -> list[Run]:
        """Your own, newest first."""
        value = self._connection.get("/api/runs")
        return read(lambda: [run_from_json(item) for item in value["runs"]])

    def run_state(self, run: Run | str) -> Run:
        """A run as it stands now: what each node did, and what is pooled. `NotFound` when it is not yours."""
        value = self._connection.get(f"/api/runs/{_id(run)}")
        return read(lambda: run_from_json(value))

    def cancel(self, run: Run | str) -> Run:
        """Stop what has not ended; what nodes have given stays."""
        value = self._connection.post(f"/api/runs/{_id(run)}/cancel", {})
        return read(lambda: run_from_json(value))

    def run_csv(self, run: Run | str) -> str:
        """A run's numbers as a table: a row per node and group, then the pooled ones."""
        return self._connection.text(f"/api/runs/{_id(run)}.csv", CSV)


def _id(named: AccessRequest | Item | Permit | Run | str, *, plain: bool = False) -> str:
    """The id of something, for a path unless `plain`."""
    text = named if isinstance(named, str) else named.id
    return text if plain else quote(text, safe="")
