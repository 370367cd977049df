"""Services that are away: a run waits for its node, and a node that does not hear its hub gives nothing out."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.e2e.conftest import Demo

from carina.app.site import open_node
from carina.errors import PermitDenied
from carina.interfaces.client.client import Client, connect
from carina.interfaces.client.connection import LoopbackTransport
from carina.model.clock import now
from carina.model.permit import ACTIONS


def pid_of(*words: str) -> int:
    """The process whose command line has these words in a row."""
    wanted = b"\0".join(word.encode() for word in words)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if wanted in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
    raise LookupError("no such process")


@contextmanager
def signed_in(demo: Demo, name: str) -> Iterator[Client]:
    account = next(item for item in demo.state["accounts"] if (item["service"], item["name"]) == ("hub", name))
    with connect(demo.hub, account=account["name"], password=account["password"]) as client:
        yield client


def until(what: str, seconds: float, look: Callable[[], Any]) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"it took more than {seconds:.0f} s until {what}"
        time.sleep(0.3)
    return found


def permitted(demo: Demo, client: Client, node: dict[str, Any]) -> str:
    """A permit for all actions at a node, in force."""
    iri = next(dataset.iri for dataset in client.datasets() if dataset.node == node["id"])
    day = (now() + timedelta(days=3)).date()
    words = {"project": "Away", "purpose": "See who waits", "organisation": "Tests"}
    asked = client.request([iri], last_day=day, actions=ACTIONS, **words)
    with signed_in(demo, f"committee-{node['key']}") as member:
        member.decide(asked.items[0], "grant", "Yes", actions=ACTIONS, last_day=day)
    permit = str(client.request_state(asked).items[0].permit)
    headers = {"Authorization": f"Bearer {node['staff_token']}"}
    with httpx2.Client(transport=LoopbackTransport(), timeout=20, headers=headers) as http:

        def held() -> dict[str, Any] | None:
            found = http.get(f"{node['url']}/api/permits").json()
            return next((item for item in found if item["id"] == permit), None)

        there = until("the node had the permit", 30, held)
        if there["state"] == "waiting":
            path = f"{node['url']}/api/permits/{there['hub']}/{permit}"
            assert http.post(path, json={"step": "countersign"}).status_code == 200
    until("the permit was in force", 30, lambda: client.permit_state(permit).usable)
    return permit


def test_a_node_that_is_down_while_a_run_starts_does_it_after_its_return_once(full_demo: Demo) -> None:
    node = full_demo.nodes[0]
    with signed_in(full_demo, "researcher") as client:
        permit = permitted(full_demo, client, node)
        os.kill(pid_of("node", "serve", node["folder"]), signal.SIGKILL)  # the demonstration starts it again
        run = client.run([permit])
        assert run.jobs[0].state == "waiting"
        done = until("the node had done it", 90, lambda: (found := client.run_state(run)).ended and found)
    [job] = done.jobs
    assert (job.state, [moments.group for moments in job.groups]) == ("done", ["CT", "MR"])
    with open_node(Path(node["folder"])) as opened:
        entries = opened.audit.entries(500)
        assert [entry.action for entry in entries if entry.subject == job.id].count("job-done") == 1
        assert opened.audit.verify() > 0


@pytest.mark.slow
def test_a_node_that_hears_no_hub_for_a_minute_gives_nothing_out_until_it_does(full_demo: Demo) -> None:
    node = full_demo.nodes[0]
    hub = pid_of("hub", "serve", full_demo.state["hub"]["folder"])
    with ExitStack() as stack:
        client = stack.enter_context(signed_in(full_demo, "researcher"))
        archive = stack.enter_context(client.open(permitted(full_demo, client, node)))
        assert archive.studies()
        os.kill(hub, signal.SIGSTOP)
        stack.callback(os.kill, hub, signal.SIGCONT)
        began = time.monotonic()

        def refused() -> PermitDenied | None:
            try:
                archive.studies()
            except PermitDenied as error:
                return error
            return None

        error = until("the node refused", 62, refused)
        assert error.reason == "status-unknown"
        assert "permit status unknown" in error.message
        assert time.monotonic() - began > 35, "the last list was good for longer"
        os.kill(hub, signal.SIGCONT)
        until("the node heard the hub again", 60, lambda: refused() is None)
