"""DICOMweb for researchers, on a node's outside listener: each dataset is an archive of its own.

At `/datasets/{iri}/dicom-web` a permit for the dataset sees its members, and nothing else is there. Nothing is stored.
"""

from __future__ import annotations

from starlette.routing import Mount

from carina.interfaces.dicomweb.opening import by_visit
from carina.interfaces.dicomweb.routes import dicomweb_routes
from carina.node.site import Node

DATASET = "/datasets/{iri}/dicom-web"


def dataset_dicomweb_routes(node: Node, cookie: str, url: str = "") -> list[Mount]:
    """Search and retrieval of every dataset, for visits.

    cookie   name of the cookie of a visit in a browser
    url      the listener's address for clients, as in answers
    """
    return [Mount(DATASET, routes=dicomweb_routes(node, by_visit(node, cookie), url, stores=False))]
