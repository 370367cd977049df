"""Figures for Prometheus, at `/metrics` of a node's inside listener, for its staff.

What is counted per process is what this process does: requests, by the template of their route, never by their path.
All else is read from the records when it is asked for, so that it is of the whole node, whichever process did it. No
label says more than a level, a state, a reason, a route or a status: nothing of a person, an image or a sender.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carina.interfaces.api.identity import STAFF, Identity
from carina.interfaces.api.requests import no_parameters
from carina.node.site import Node
from carina.node.status import Figures, figures

OTHER = "other"
_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}
_FRESH = 10.0  # s that figures of the records are given again, whoever asks
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def _no_workers() -> Mapping[str, int]:
    return {}


def _none() -> int:
    return 0


@dataclass
class Meter:
    """What one process counts, and how it asks for what it does not count itself.

    workers       the processes that run beside the server, by name
    associations  DICOM associations that are open
    """

    workers: Callable[[], Mapping[str, int]] = _no_workers
    associations: Callable[[], int] = _none
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        labels = ("listener", "route", "method", "status")
        self._requests = Counter("carina_http_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "carina_http_request_seconds",
            "From a request's header to the end of its answer.",
            labels[:2],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._bytes = Counter("carina_http_sent_bytes", "Bytes of answers.", labels[:2], registry=self.registry)

    def counting(self, app: Starlette, listener: str) -> ASGIApp:
        """The application with its requests counted. listener: "inside" or "outside"."""
        templates = dict(_templates(app.routes))

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            status, sent, began = 500, 0, time.perf_counter()

            async def told(message: Message) -> None:
                nonlocal status, sent
                if message["type"] == "http.response.start":
                    status = message["status"]
                else:
                    sent += len(message.get("body", b""))
                await send(message)

            try:
                await app(scope, receive, told)
            finally:
                route = templates.get(id(scope.get("route")), OTHER)
                method = scope["method"] if scope["method"] in _METHODS else OTHER
                self._requests.labels(listener, route, method, str(status)).inc()
                self._seconds.labels(listener, route).observe(time.perf_counter() - began)
                self._bytes.labels(listener, route).inc(sent)

        return counted


def _templates(routes: Iterable[BaseRoute], above: str = "") -> Iterator[tuple[int, str]]:
    """Each route's template by its identity: `/dicom-web/studies/{study}`."""
    for route in routes:
        if isinstance(route, Mount):
            yield from _templates(route.routes, above + route.path)
            yield id(route), f"{above}{route.path}/{{path}}"
        elif isinstance(route, Route):
            yield id(route), above + route.path


class _Records(Collector):
    """What the records, the disk and the processes say now."""

    def __init__(self, node: Node, meter: Meter) -> None:
        self._node, self._meter = node, meter
        self._lock = threading.Lock()
        self._figures: tuple[float, Figures] | None = None

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client`."""
        found = self._fresh()
        yield _gauge("carina_archive", "What the archive holds.", "level", found.archive)
        yield _gauge("carina_studies", "Studies, by whether images may still come.", "state", found.studies)
        yield _gauge("carina_archive_bytes", "Bytes of the present versions of all instances.", "", {"": found.size})
        arrived = CounterMetricFamily("carina_arrivals", "What was received, by what became of it.", labels=["state"])
        for state, number in found.arrivals.items():
            arrived.add_metric([state], number)
        yield arrived
        yield _gauge("carina_waiting", "Instances that wait for a worker.", "", {"": found.waiting})
        yield _gauge("carina_waiting_bytes", "Their bytes.", "", {"": found.waiting_size})
        yield _gauge("carina_waiting_seconds", "How long the oldest of them has waited.", "", {"": found.oldest})
        yield _gauge("carina_quarantine", "Instances in quarantine.", "reason", found.quarantine)
        disk = shutil.disk_usage(self._node.folder)
        yield _gauge("carina_disk_bytes", "Of the disk with the node's folder.", "", {"": disk.total})
        yield _gauge("carina_disk_free_bytes", "Of it, free.", "", {"": disk.free})
        kinds = [name.partition("-")[0] for name in self._meter.workers()]
        alive = {kind: kinds.count(kind) for kind in ("worker", "pixels")}
        yield _gauge("carina_workers", "Processes beside the server that run.", "kind", alive)
        yield _gauge("carina_associations", "DICOM associations that are open.", "", {"": self._meter.associations()})
        yield _gauge("carina_build", "Always 1.", "version", {version("carina"): 1})

    def _fresh(self) -> Figures:
        with self._lock:
            if self._figures is None or time.monotonic() - self._figures[0] > _FRESH:
                self._figures = (time.monotonic(), figures(self._node))
            return self._figures[1]


def _gauge(name: str, meaning: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=[label] if label else [])
    for value, number in values.items():
        family.add_metric([value] if label else [], number)
    return family


def metrics_routes(node: Node, identity: Identity, meter: Meter) -> list[Route]:
    """`/metrics`, for the staff's sessions and tokens: nobody else need know how much a site holds."""
    meter.registry.register(_Records(node, meter))

    async def metrics(request: Request) -> Response:
        await identity.identify(request, STAFF)
        no_parameters(request)
        text = await run_in_threadpool(generate_latest, meter.registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [Route("/metrics", metrics)]
