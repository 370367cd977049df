"""A node's datasets and how they stand, as JSON for its staff."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.interfaces.api.identity import STAFF, Identity
from carina.interfaces.api.requests import no_parameters
from carina.model.cohort import to_json
from carina.node import datasets, snapshots
from carina.node.datasets import Dataset
from carina.node.datasetstate import Described, state_of
from carina.node.site import Node
from carina.node.watch import Watch


def dataset_routes(node: Node, identity: Identity, watch: Watch) -> list[Route]:
    """`/api/datasets`, and of one of them what it holds, who may use it and what the hubs know of it."""

    async def every(request: Request) -> Response:
        await identity.identify(request, STAFF)
        no_parameters(request)
        found = await run_in_threadpool(datasets.listed, node)
        return JSONResponse([dataset_to_json(one) for one in found])

    async def one(request: Request) -> Response:
        await identity.identify(request, STAFF)
        no_parameters(request)
        dataset = await run_in_threadpool(datasets.get, node, request.path_params["iri"])
        found = await run_in_threadpool(watch.described, dataset)
        return JSONResponse(await run_in_threadpool(standing_to_json, node, dataset, found))

    return [Route("/api/datasets", every), Route("/api/datasets/{iri}", one)]


def dataset_to_json(dataset: Dataset) -> dict[str, Any]:
    """What was decided on it."""
    actions = list(dataset.actions) if dataset.actions is not None else None
    return {**asdict(dataset), "query": to_json(dataset.query), "actions": actions}


def standing_to_json(node: Node, dataset: Dataset, found: Described) -> dict[str, Any]:
    """Besides, exact numbers, for the site's own staff; `groups` as the hubs are told them, small ones hidden."""
    standing = state_of(node, dataset, found)
    description = found.description
    return {
        **dataset_to_json(dataset),
        "images": standing.instances,
        "studies": standing.studies,
        "images_since_snapshot": standing.since,
        "newest_studies": list(standing.newest),
        "hubs": [{"title": hub.title, "last_contact": hub.last} for hub in standing.hubs],
        "in_step": standing.in_step,
        "permits_in_force": standing.in_force,
        "uses": standing.uses,
        "threshold": description.threshold,
        "patients": description.patients,
        "computed": description.computed,
        "groups": {name: [asdict(group) for group in groups] for name, groups in description.groups.items()},
        "snapshots": [asdict(one) for one in snapshots.listed(node, dataset.iri)],
    }
