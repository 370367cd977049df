"""How long a node's pages take: the server's time for each, with 1,000 studies, at rest and while 4 scanners send;
and outside, of a researcher with a permit for all of them, within one process.

`python -m benchmarks.pages [--quick] [--studies 1000] [--times 60] [--folder DIR]`
"""

from __future__ import annotations

import argparse
import gc
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
from benchmarks.services import SCANNER, BenchNode, new_node, running, wait
from benchmarks.table import Row, machine, markdown
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]
from sqlalchemy import Engine, select, text, update
from tests.pages import csrf
from tests.support import ct
from tests.visiting import browser, enter, open_images

from carina.app.site import open_node
from carina.model.clock import now, stamp
from carina.model.ids import ProjectId
from carina.model.instance import Source
from carina.node import datasets, worker
from carina.node.ingest import receive
from carina.storage import accounts
from carina.storage.schema import arrivals, node_tables, studies

NAME, PASSWORD = "bench", "correct horse battery"
LIMIT = 50.0  # ms, of the 95th percentile
HEAVIEST = 150_000  # bytes of a page without images
SENDERS = 4
BASE = "/health/live"  # what nothing but answering takes
PAGES = (
    "/", "/overview", "/arrivals", "/arrivals/live", "/studies", "/quarantine", "/review", "/datasets", "/permits",
    "/asked", "/hubs", "/system", "/audit", "/account",
)  # fmt: skip
KEYS = {  # what names a row or the row above, by table
    "patients": ("patient",),
    "studies": ("study_uid", "patient"),
    "series": ("series_uid", "study_uid"),
    "instances": ("uid", "series_uid", "study_uid"),
    "arrivals": ("id",),
}
DOCUMENTS = ("/api/overview", "/api/arrivals", "/api/storage", "/api/keys", "/api/status")


def fill(node: BenchNode, count: int) -> list[str]:
    """Studies of two images through the door, and the same rows again with other identifiers until there are enough;
    the addresses of pages of single things."""
    with open_node(node.folder) as opened:
        accounts.add_account(opened.engine, NAME, PASSWORD, {"data-manager"})
        source = Source("aet", SCANNER)
        for number in range(min(count, 50)):
            for image in (1, 2):
                receive(opened, ct(f"MRN-{number:05}", number=image), source)
        receive(opened, ct("MRN-9999")[:900], source)
        while worker.work(opened, "bench"):
            pass
        _multiply(opened.engine, count)
        made = datasets.create(opened, NAME, ProjectId("bench"), "Lung CT")
        datasets.publish(opened, NAME, made.iri)
        with opened.engine.begin() as connection:
            days = [row.id for row in connection.execute(select(arrivals.c.id))]
            for place, one in enumerate(days):
                at = stamp(now() - timedelta(days=place % 80, seconds=60))
                connection.execute(update(arrivals).where(arrivals.c.id == one).values(received_at=at, finished_at=at))
            study = connection.execute(select(studies.c.study_uid).limit(1)).scalar_one()
    return [f"/studies/{study}", *looks(f"/studies/{study}"), f"/datasets/{made.iri}", "/quarantine/damaged"]


def looks(study: str) -> list[str]:
    """The study's page with the contact sheet, and with the table of the header; pictures are asked for by browsers."""
    return [f"{study}?mosaic=1", f"{study}?header=1"]


def outside(folder: Path, count: int, times: int) -> list[Row]:
    """The pages of a researcher."""
    files = (ct(f"MRN-{number:05}", number=image) for number in range(min(count, 50)) for image in (1, 2))
    with open_images(folder, files) as site, browser(site) as client:
        _multiply(site.node.engine, count)
        visa = site.grant()
        if enter(client, site, visa).status_code != 303:
            raise SystemExit("the researcher was not let in")
        with site.node.engine.connect() as connection:
            study = connection.execute(select(studies.c.study_uid).limit(1)).scalar_one()
        page = f"/datasets/{site.dataset}"
        paths = ["/", page, f"{page}/studies/{study}", *looks(f"{page}/studies/{study}")]
        gc.collect()
        gc.freeze()  # as the listener does once it is ready
        return rows(client, paths, times, "outside, at rest")


def _multiply(engine: Engine, count: int) -> None:
    """Copy what there is under new identifiers, until there are `count` studies."""
    with engine.begin() as connection:
        there = {name: connection.execute(text(f"SELECT COUNT(*) FROM {name}")).scalar_one() for name in KEYS}
        for copy in range(1, -(-count // there["studies"])):
            for name, changed in KEYS.items():
                columns = [column.name for column in node_tables.tables[name].columns]
                quoted = ", ".join(f'"{column}"' for column in columns)
                new = ", ".join(f"\"{one}\" || '.{copy}'" if one in changed else f'"{one}"' for one in columns)
                copied = f"SELECT {new} FROM {name} ORDER BY rowid LIMIT {there[name]}"
                connection.execute(text(f"INSERT INTO {name} ({quoted}) {copied}"))


def signed_in(url: str) -> httpx2.Client:
    """A browser of the data manager."""
    client = httpx2.Client(base_url=url, headers={"Accept": "text/html"}, timeout=30)
    token = csrf(client.get("/sign-in").text)
    answer = client.post("/sign-in", data={"csrf": token, "name": NAME, "password": PASSWORD, "next": "/"})
    if answer.status_code != 303:
        raise SystemExit(f"signing in was answered {answer.status_code}")
    return client


def measure(client: Any, path: str, times: int) -> tuple[list[float], int, int]:
    """Milliseconds of each request after the first, the answer's status and its bytes."""
    answer = client.get(path)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        client.get(path)
        took.append(1000 * (time.perf_counter() - began))
    return took, answer.status_code, len(answer.content)


@contextmanager
def sending(node: BenchNode, senders: int = SENDERS) -> Iterator[Callable[[], int]]:
    """So many associations that send small CT images one after another, until the end of the block."""
    ended = threading.Event()
    sent = [0] * senders

    def send(number: int) -> None:
        entity = AE(ae_title=SCANNER)
        entity.add_requested_context(CTImageStorage)
        association = entity.associate("127.0.0.1", node.dimse, ae_title="CARINA")
        while association.is_established and not ended.is_set():
            data = ct(f"MRN-L{number}{sent[number] // 20:04}", number=1 + sent[number] % 20, size=256)
            association.send_c_store(dcmread(BytesIO(data)))
            sent[number] += 1
        association.release()

    threads = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(senders)]
    for thread in threads:
        thread.start()
    try:
        wait(lambda: sum(sent) > senders, 30)
        yield lambda: sum(sent)
    finally:
        ended.set()
        for thread in threads:
            thread.join(10)


def rows(client: Any, paths: list[str], times: int, label: str) -> list[Row]:
    """A line for each page."""
    found = []
    for path in paths:
        took, status, size = measure(client, path, times)
        p50, p95 = statistics.median(took), sorted(took)[int(0.95 * (len(took) - 1))]
        shown = re.sub(r"(urn:uuid:|2\.25\.)[\w.-]+", "…", path)
        mark = "" if status == 200 else f" ({status})"
        weight = f", {size / 1000:.0f} kB" + (" TOO HEAVY" if size > HEAVIEST and not path.startswith("/api") else "")
        figure = f"p50 {p50:.0f} ms, p95 {p95:.0f} ms{weight}"
        found.append(Row(f"{shown}{mark}, {label}", figure, f"p95 {LIMIT:.0f} ms", p95 / LIMIT))
        print(found[-1].measured, found[-1].figure, flush=True)
    return found


def main() -> None:
    """Make the node, measure, print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.pages", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests; for a look, not for a figure")
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--times", type=int, default=60)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    times = 12 if options.quick else options.times
    with tempfile.TemporaryDirectory(prefix="carina-pages-", dir=options.folder) as name:
        node = new_node(Path(name), "node")
        paths = [BASE, *PAGES, *fill(node, options.studies), *DOCUMENTS]
        with running("node", node.folder, node.url):
            client = signed_in(node.url)
            table = rows(client, paths, times, "at rest")
            with sending(node) as count:
                began, before = time.monotonic(), count()
                table += rows(client, paths, times, f"{SENDERS} send")
                pace = (count() - before) / (time.monotonic() - began)
        table += outside(Path(name) / "outside", options.studies, times)
    print(f"\n{machine()}; {options.studies} studies; {pace:.0f} images/s meanwhile\n\n{markdown(table)}")


if __name__ == "__main__":
    main()
