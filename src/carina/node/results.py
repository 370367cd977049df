"""A job's result: what left the node, signed with its key."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import RowMapping

from carina.compute import moments
from carina.federation import wire
from carina.federation.signing import peek
from carina.model.clock import stamp
from carina.model.job import ANALYSES, Moments
from carina.node.site import Node


def sign_result(node: Node, job: RowMapping, version: str, released: Iterable[Moments]) -> str:
    """What a job gave, as a JWS.

    job      its row
    version  of the dataset: `live` or a snapshot's number
    """
    result = wire.Result(
        hub=job["hub"],
        node=node.id,
        job=job["id"],
        permit=job["permit"],
        dataset=job["dataset"],
        version=version,
        analysis=job["analysis"],
        analysis_version=ANALYSES[job["analysis"]].version,
        threshold=node.threshold,
        groups=tuple(
            wire.Moments(group=group.group, n=group.n, mean=moments.digits(group.mean), m2=moments.digits(group.m2))
            for group in released
        ),
        at=stamp(),
    )
    return node.signing.sign(wire.write(result)).decode()


def read_result(text: str) -> tuple[tuple[Moments, ...], int]:
    """The groups of this node's own result, and the threshold below which groups were withheld."""
    result = wire.read(wire.Result, peek(text.encode())[1])
    groups = tuple(moments.read(group.group, group.n, group.mean, group.m2) for group in result.groups)
    return groups, result.threshold


def under_present_key(node: Node, text: str) -> str:
    """This node's own result; signed anew when the node's key has changed since, which the hub would not take."""
    header, payload = peek(text.encode())
    return text if header.get("kid") == node.signing.thumbprint else node.signing.sign(payload).decode()
