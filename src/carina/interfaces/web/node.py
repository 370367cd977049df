"""The node's console, inside only and for its staff: its frame, its menu, and all its pages together."""

from __future__ import annotations

from starlette.routing import Mount, Route

from carina.interfaces.api.identity import Identity
from carina.interfaces.language import mark
from carina.interfaces.web.asked import asked_routes
from carina.interfaces.web.design import design_routes
from carina.interfaces.web.forget import forget_routes
from carina.interfaces.web.languages import language_routes
from carina.interfaces.web.node_audit import audit_routes
from carina.interfaces.web.node_datasets import dataset_routes
from carina.interfaces.web.node_permits import permit_routes
from carina.interfaces.web.overview import arrival_routes, hub_routes, overview_routes, system_routes
from carina.interfaces.web.pages import Link, Pages, is_staff, static_files
from carina.interfaces.web.quarantine import quarantine_routes
from carina.interfaces.web.review import is_manager, review_routes
from carina.interfaces.web.signin import sign_in_routes
from carina.interfaces.web.studies import study_routes
from carina.node.site import Node
from carina.node.watch import Watch

MENU = (
    Link("/", mark("Overview"), is_staff),
    Link("/arrivals", mark("Arrivals"), is_staff),
    Link("/studies", mark("Studies"), is_manager),
    Link("/quarantine", mark("Quarantine"), is_staff),
    Link("/review", mark("Review"), is_manager),
    Link("/datasets", mark("Datasets"), is_staff),
    Link("/permits", mark("Permits"), is_staff),
    Link("/asked", mark("Asked"), is_staff),
    Link("/hubs", mark("Hubs"), is_staff),
    Link("/system", mark("System"), is_staff),
    Link("/audit", mark("Audit trail"), is_staff),
)


def node_frame(node: Node, identity: Identity) -> Pages:
    """What all of the node's pages share; `.error` makes the pages of errors."""
    return Pages("node", node.id, node.title, identity, MENU)


def node_pages(node: Node, identity: Identity, watch: Watch | None = None) -> list[Route | Mount]:
    """All routes of the console. Raises `BadSettings` when the files that pages load are not in place.

    watch   what looks at the node; None: one that knows nothing of the processes
    """
    pages = node_frame(node, identity)
    watch = watch or Watch(node)
    return [
        static_files(),
        *language_routes(),
        *overview_routes(node, pages, watch),
        *arrival_routes(node, pages, watch),
        *quarantine_routes(node, pages),
        *review_routes(node, pages),
        *study_routes(node, pages),
        *dataset_routes(node, pages, watch),
        *permit_routes(node, pages),
        *asked_routes(node, pages),
        *hub_routes(node, pages),
        *system_routes(node, pages, watch),
        *audit_routes(node, pages),
        *forget_routes(node, pages),
        *sign_in_routes(pages),
        *design_routes(pages),
    ]
