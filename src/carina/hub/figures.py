"""The sums of the hub's home page."""

from __future__ import annotations

from dataclasses import dataclass

from carina.hub.catalogue import list_datasets
from carina.hub.centre import Hub
from carina.hub.nodes import list_nodes
from carina.model.clock import now


@dataclass(frozen=True)
class Figures:
    """What the federation holds, as far as it is shown.

    nodes, online                   joined; of these, heard of within the last minute
    datasets                        published
    patients, studies, instances    sums of what the datasets show; a person in two datasets counts twice
    hidden                          datasets too small to show numbers
    """

    nodes: int
    online: int
    datasets: int
    patients: int
    studies: int
    instances: int
    hidden: int


def figures(hub: Hub) -> Figures:
    """The present sums."""
    at = now()
    joined = list_nodes(hub)
    datasets = [entry.dataset for entry in list_datasets(hub)]
    return Figures(
        nodes=len(joined),
        online=sum(node.online(at) for node in joined),
        datasets=len(datasets),
        patients=sum(dataset.patients or 0 for dataset in datasets),
        studies=sum(dataset.studies or 0 for dataset in datasets),
        instances=sum(dataset.instances or 0 for dataset in datasets),
        hidden=sum(dataset.patients is None for dataset in datasets),
    )
