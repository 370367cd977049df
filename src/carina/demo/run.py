"""`carina demo`: found what is not there yet, start it, let images arrive, and stay until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import queue
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from types import FrameType

from rich.console import Console

from carina.app.node import join
from carina.app.processes import only_one
from carina.demo import access, journey
from carina.demo import folder as memory
from carina.demo.folder import Place, State
from carina.demo.founding import appoint_committees, found_the_hub, found_the_node, plan
from carina.demo.outgoing import Part
from carina.demo.screen import Screen, welcome
from carina.demo.sending import Report, aside_of, send
from carina.demo.supervisor import Service, Supervisor, answers
from carina.demo.watching import NodeProgress, look, online
from carina.errors import CarinaError, Conflict, Unreachable

SEED = 2026
LONGEST = 600.0  # s without an image arriving after which a start is given up
ENOUGH = 10  # patients of each node that make the federation worth a look


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    folder: Path
    fresh: bool = False
    data: Path | None = None
    seed: int | None = None
    once: bool = False
    report: Path | None = None


@dataclass
class Times:
    """Seconds since the start until each came true; None while it has not."""

    begun: float = field(default_factory=time.monotonic)
    hub: float | None = None
    joined: float | None = None
    searchable: float | None = None
    ready: float | None = None

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begun


def run(options: Options) -> None:
    """The demonstration, from start to end. Whatever happens, no process is left behind.

    Raises what went wrong; `KeyboardInterrupt` when a journey was interrupted.
    """
    console = Console(highlight=False)
    screen = Screen(console)
    options.folder.mkdir(parents=True, exist_ok=True)
    with only_one(options.folder), _ended_by_signals():
        if options.fresh:
            memory.clear(options.folder)
        demonstration = Demonstration(options, screen)
        try:
            demonstration.start()
            if not options.once:
                welcome(console, demonstration.state)
            demonstration.fill()
            if options.once:
                demonstration.finish()
            else:
                demonstration.stay()
        except CarinaError as error:
            demonstration.write_report(failed=f"{error.message} {error.hint}")
            raise
        except KeyboardInterrupt:
            screen.close()
            console.print("\n  Ending …")
            if options.once:
                demonstration.write_report(failed="It was interrupted.")
                raise
        finally:
            screen.close()
            demonstration.stop()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the demonstration as Ctrl-C does."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell that starts this in the background has it ignored.
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Demonstration:
    """One run: the processes, the state on the disk and the clock."""

    def __init__(self, options: Options, screen: Screen) -> None:
        self.options = options
        self.screen = screen
        self.times = Times()
        self.supervisor = Supervisor(screen.say)
        self.senders: list[BaseProcess] = []
        context = multiprocessing.get_context("spawn")
        self._context = context
        self._reports: Queue[Report] = context.Queue()
        self.progress: dict[str, NodeProgress] = {}
        self._seen = (0, 0.0)
        self.state: State = None  # type: ignore[assignment]  # set by `start`

    def start(self) -> None:
        """Found or load everything and start every service; returns when the nodes answer."""
        loaded = memory.load(self.options.folder)
        if loaded is None or not loaded.founded:
            memory.clear(self.options.folder)  # what a start that was cut off has left
            self._found()
        else:
            self._resume(loaded)
        self.progress = {
            place.key: NodeProgress(key=place.key, title=place.title, door=place.door) for place in self.state.nodes
        }
        services = []
        for place in self.state.nodes:
            services.append(self._service(place.title, "node", place, f"{place.url}/health/ready"))
            self.supervisor.start(services[-1])
        for service in services:
            self.supervisor.wait_ready(service, within=60)

    def _found(self) -> None:
        self.screen.say("Founding a hub and three nodes …")
        options = self.options
        seed = SEED if options.seed is None else options.seed
        self.state = plan(options.folder, seed, str(options.data.resolve()) if options.data else "")
        memory.save(options.folder, self.state)
        invitations = found_the_hub(options.folder, self.state)
        self._start_hub()
        for place in self.state.nodes:
            found_the_node(options.folder, self.state, place)
        self._wait_for_hub()
        for place, invitation in zip(self.state.nodes, invitations, strict=True):
            join(Path(place.folder), invitation)
        appoint_committees(self.state)
        self.state.founded = True
        memory.save(options.folder, self.state)

    def _resume(self, loaded: State) -> None:
        self.state = loaded
        wanted = str(self.options.data.resolve()) if self.options.data else ""
        other_seed = self.options.seed is not None and self.options.seed != loaded.seed
        if other_seed or (wanted and wanted != loaded.data):
            raise Conflict("This demonstration holds other images.", "Add --fresh to begin anew.")
        self.screen.say("Going on where the last start ended …")
        self._start_hub()
        self._wait_for_hub()

    def _start_hub(self) -> None:
        hub = self.state.hub
        self._hub = self._service("The hub", "hub", hub, f"{hub.url}/health/ready")
        self.supervisor.start(self._hub)

        def clock() -> None:
            while self.times.hub is None:
                if answers(f"{hub.url}/"):
                    self.times.hub = self.times.now()
                    self.screen.say(f"The hub answers at {hub.url} ({self.times.hub:.1f} s)")
                time.sleep(0.1)

        threading.Thread(target=clock, daemon=True).start()

    def _wait_for_hub(self) -> None:
        self.supervisor.wait_ready(self._hub, within=60)

    def _service(self, name: str, kind: str, place: Place, ready: str) -> Service:
        log = self.options.folder / "logs" / f"{place.key}.log"
        return Service(name, (kind, "serve", place.folder), ready, log)

    def fill(self) -> None:
        """Let images arrive and show it, until every node has everything."""
        state = self.state
        places = list(enumerate(state.nodes))
        for number, place in places:
            if place.key not in state.sent:
                part = Part(number, len(places), state.seed, state.data)
                sender = self._context.Process(target=send, args=(place, part, self._reports), daemon=True)
                sender.start()
                self.senders.append(sender)
        while not self._all_done():
            self._require_progress()
            self._hear()
            hears = online(state.hub)
            for place in state.nodes:
                self.progress[place.key] = look(place, self.progress[place.key], hears)
            self._note_times()
            self.screen.show(self.progress.values(), self.times.now())
            time.sleep(0.5)
        self.screen.show(self.progress.values(), self.times.now())
        self.screen.close()
        self.times.ready = self.times.now()
        state.ready = True
        memory.save(self.options.folder, state)
        self.screen.say(f"Everything has arrived ({self.times.ready:.0f} s)")
        looked = sum(row.pixels.get("looked_at", 0) for row in self.progress.values())
        flagged = sum(row.pixels.get("flagged", 0) for row in self.progress.values())
        self.screen.say(f"{looked} images were searched for text in their pixels; {flagged} wait for a reader")
        for row in self.progress.values():
            if row.left_out:
                self.screen.say(f"{row.left_out} files for {row.title} are not what DICOM's network can carry")

    def _hear(self) -> None:
        """Take in what the senders have said."""
        with contextlib.suppress(queue.Empty):
            while True:
                report = self._reports.get_nowait()
                if report.what == "failed":
                    raise Unreachable(f"Sending to {report.node} failed: {report.why}")
                if report.what == "expected":
                    self.progress[report.node].expected = report.count
                elif report.what == "left-out":
                    self.progress[report.node].left_out = report.count
                elif report.what == "done":
                    self.state.sent.append(report.node)
                    memory.save(self.options.folder, self.state)
        for sender in self.senders:
            if sender.exitcode not in (None, 0):
                raise Unreachable("A sender of the demonstration ended unexpectedly.", "Start it again; it goes on.")

    def _all_done(self) -> bool:
        sent = len(self.state.sent) == len(self.state.nodes)
        rows = self.progress.values()
        return sent and all(row.online and not row.waiting and not row.pixels.get("waiting") for row in rows)

    def _require_progress(self) -> None:
        """Raise `Unreachable` when a service stays down, or nothing has arrived for long."""
        down = self.supervisor.given_up()
        if down is not None:
            raise Unreachable(f"{down.name} keeps ending and stays down.", f"Its log says why: {down.log}")
        seen = sum(row.archived + row.unchanged + row.quarantined for row in self.progress.values())
        if seen != self._seen[0]:
            self._seen = (seen, self.times.now())
        elif self.times.now() - self._seen[1] > LONGEST:
            logs = self.options.folder / "logs"
            raise Unreachable(f"Nothing has arrived for {LONGEST:.0f} s.", f"The logs are in {logs}.")

    def _note_times(self) -> None:
        rows = list(self.progress.values())
        if self.times.joined is None and all(row.online for row in rows):
            self.times.joined = self.times.now()
            self.screen.say(f"Three nodes have joined ({self.times.joined:.1f} s)")
        if self.times.searchable is None and all((row.patients or 0) >= ENOUGH for row in rows):
            found = journey.everyone(self.state)
            if all(found.get(row.title, 0) >= ENOUGH for row in rows):
                self.times.searchable = self.times.now()
                self.screen.say(f"Ten patients of each node are found by a search ({self.times.searchable:.1f} s)")

    def finish(self) -> None:
        """Go the journey, print and write what it found."""
        searches = journey.go(self.state, figures_expected=not self.state.data)
        for item in searches:
            parts = ", ".join(f"{title}: {'fewer than 10' if n is None else n}" for title, n in item.nodes.items())
            shown = any(count is not None for count in item.nodes.values())
            sums = f"{item.patients} patients, {item.studies} studies" if shown else "no number to show"
            self.screen.say(f"{item.name}: {sums} ({parts})")
        went = access.go(self.state, self.screen.say, figures_expected=not self.state.data)
        for group in went.pooled:
            self.screen.say(
                f"Signal-to-noise ratio, {group['group']}: mean {group['mean']:.2f} of {group['n']} patients"
            )
        self.write_report(searches=searches, went=went)
        self.screen.say(f"The journey succeeded ({self.times.now():.0f} s)")

    def write_report(
        self,
        searches: Sequence[journey.Search] = (),
        went: access.Access | None = None,
        failed: str | None = None,
    ) -> None:
        """Write times and counts to the file that was asked for, if one was; `failed`: the sentence that says why."""
        if self.options.report is None:
            return
        content = {
            "failed": failed,
            "seconds": {
                "hub_answers": _rounded(self.times.hub),
                "nodes_joined": _rounded(self.times.joined),
                "ten_patients_each": _rounded(self.times.searchable),
                "ready": _rounded(self.times.ready),
            },
            "nodes": {
                row.key: {
                    "title": row.title,
                    "door": row.door,
                    "received": row.received,
                    "stored": row.archived,
                    "unchanged": row.unchanged,
                    "quarantined": row.reasons,
                    "not_sendable": row.left_out,
                    "pixels": row.pixels,
                }
                for row in self.progress.values()
            },
            "searches": [
                {"name": item.name, "patients": item.patients, "studies": item.studies, "nodes": item.nodes}
                for item in searches
            ],
            "access": None if went is None else asdict(went),
        }
        self.options.report.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def stay(self) -> None:
        """Until Ctrl-C."""
        while True:
            time.sleep(3600)

    def stop(self) -> None:
        """End senders and services."""
        for sender in self.senders:
            if sender.is_alive():
                sender.terminate()
        for sender in self.senders:
            sender.join(5)
            if sender.is_alive():
                sender.kill()
        if self.state is not None:
            for place in self.state.nodes:
                shutil.rmtree(aside_of(place), ignore_errors=True)
        self.supervisor.stop()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
