"""Whether a service lives and is ready, for whatever supervises it. Says nothing else, so nobody need sign in."""

from __future__ import annotations

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.errors import Busy, CarinaError


def health_routes(engine: Engine) -> list[Route]:
    """`/health/live`: the process answers. `/health/ready`: its records do too."""

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        await run_in_threadpool(_ask_records, engine)
        return JSONResponse({"status": "ok"})

    return [Route("/health/live", live), Route("/health/ready", ready)]


def _ask_records(engine: Engine) -> None:
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, CarinaError):
        raise Busy("The records cannot be read now.", "Try again in a while.") from None
