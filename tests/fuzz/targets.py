"""What is fuzzed, by name."""

from __future__ import annotations

from tests.fuzz import associations, bodies, files, searching, service
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    "walker": files.WALKER,
    "sealed": files.SEALED,
    "multipart": bodies.MULTIPART,
    "association": associations.ASSOCIATION,
    "request": associations.REQUEST,
    "query": searching.QUERY,
    "headers": searching.HEADERS,
    "identifier": searching.IDENTIFIER,
    "service": service.SERVICE,
}
