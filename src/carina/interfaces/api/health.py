"""Whether a service lives and is ready, for whatever supervises it. Says nothing else, so nobody need sign in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Engine, select, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.errors import Busy, CarinaError
from carina.model.keys import check_value, key_names
from carina.storage.schema import node_tables

if TYPE_CHECKING:
    from carina.node.site import Node  # a hub has none of what a node imports

Check = Callable[[], None]
"""Raises `Busy` when the service is not ready."""

_key_checks = node_tables.tables["key_checks"]


def health_routes(engine: Engine, checks: Sequence[Check] = ()) -> list[Route]:
    """`/health/live`: the process answers. `/health/ready`: its records do too, and `checks` have nothing against it.

    Who is not ready answers 503 with a problem document.
    """

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        await run_in_threadpool(_ask, engine, checks)
        return JSONResponse({"status": "ok"})

    return [Route("/health/live", live), Route("/health/ready", ready)]


def node_checks(
    node: Node, workers: Callable[[], Mapping[str, int]] | None = None, wanted: Sequence[str] = ()
) -> tuple[Check, ...]:
    """What else a node needs: its keys fit its records, the disk has room for one instance, its processes run.

    workers   those that run, by name; None: they are somebody else's
    wanted    names of those that are to run
    """
    from carina.node.ingest import RESERVE  # a hub has health too, and not what a node needs

    def has_its_keys() -> None:
        with node.engine.connect() as connection:
            known = {row.name: row.check for row in connection.execute(select(_key_checks))}
        if any(known.get(name, value) != value for name, value in _values(node).items()):
            raise Busy("The records are of other keys.", "Put the key file's back-up in place and start again.")

    def has_room() -> None:
        if shutil.disk_usage(node.folder).free < RESERVE:
            raise Busy("The disk has no room for any instance.", "Free some room.")

    def has_workers() -> None:
        if workers is not None and not set(wanted) <= workers().keys():
            raise Busy("Not all of the node's processes run.", "They are started again by themselves; see the log.")

    return has_its_keys, has_room, has_workers


def _values(node: Node) -> dict[str, str]:
    return {name: check_value(getattr(node.keys, name)) for name in key_names()}


def _ask(engine: Engine, checks: Sequence[Check]) -> None:
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        for check in checks:
            check()
    except Busy:
        raise
    except (SQLAlchemyError, CarinaError, OSError):
        raise Busy("The records cannot be read now.", "Try again in a while.") from None
