"""Count what a cohort query finds in what this node has published."""

from __future__ import annotations

from carina.federation.disclosure import release
from carina.model.cohort import All, AnyOf, Query
from carina.model.search import Counts
from carina.model.variables import require_known
from carina.node import datasets
from carina.node.site import Node
from carina.storage import cohort


def count(node: Node, query: Query) -> Counts:
    """Distinct patients and their studies that match, as they may leave the node: small counts hidden.

    Searched is what belongs to at least one published dataset, as `model.cohort` means it: the series that has the
    query and is in such a dataset. Drafts and withdrawn datasets are not searched. A person in two projects counts
    twice, since nothing links the two. Raises `InvalidQuery` for unknown terms.
    """
    require_known(query)
    published = datasets.listed(node, state="published")
    patients = studies = 0
    with node.engine.connect() as connection:
        for project in sorted({dataset.project for dataset in published}):
            of_project = AnyOf(tuple(dataset.query for dataset in published if dataset.project == project))
            some = cohort.count(connection, [project], All((of_project, query)))
            patients, studies = patients + some[0], studies + some[1]
    return release(patients, studies, node.threshold)
