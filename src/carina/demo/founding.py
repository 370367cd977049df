"""Found the demonstration's hub and nodes: folders, ports, accounts, projects, datasets."""

from __future__ import annotations

from pathlib import Path

from carina.app.found import NewHub, NewNode, found_hub, found_node
from carina.app.hub import open_hub
from carina.app.site import open_node
from carina.deid.profile import load_profile
from carina.demo.folder import Account, Place, State, free_ports, password
from carina.demo.sending import SENDER_AE, TOKEN_NAME, aside_of
from carina.hub import committee
from carina.hub.nodes import invite
from carina.model.ids import ProjectId
from carina.node import clinical, datasets
from carina.sample.cohort import clinical_csv, patients
from carina.sample.sites import SITES, Site
from carina.storage import accounts

COMMITTEE = "committee"
PEOPLE = (
    ("researcher", "researcher", "Rosa Researcher"),
    ("operator", "operator", "Otto Operator"),
    *((f"{COMMITTEE}-{site.key}", "researcher", f"Access committee, {site.city}") for site in SITES),
)
"""Accounts at the hub: name, role, and how pages show it. Each node has a committee of one."""
TRUSTING = SITES[-1].key
"""The node that takes the hub's word; at the others the data manager signs each permit too."""
READING = SITES[0].key
"""The node at which a reader decides on each image in which text was found; at the others it is blanked at once."""
_DOORS = ("dimse", "stow", "folder")
_FIRST_PORT = 8700


def plan(folder: Path, seed: int, data: str) -> State:
    """Addresses for one hub and three nodes, each its own origin."""
    ports = free_ports([_FIRST_PORT + offset for offset in (0, 1, 11, 12, 13, 21, 22, 31, 32)])
    hub = Place(
        "hub",
        "Carina demonstration",
        f"http://hub.localhost:{ports[0]}",
        str(folder / "hub"),
        {"web": ports[0], "broker": ports[1]},
    )
    node_ports = (
        {"inside": ports[2], "outside": ports[3], "dimse": ports[4]},
        {"inside": ports[5], "outside": ports[6]},
        {"inside": ports[7], "outside": ports[8]},
    )
    nodes = [
        Place(
            site.key,
            site.name,
            f"http://{site.key}.localhost:{own['inside']}",
            str(folder / site.key),
            own,
            door=door,
            project=site.project,
            public_url=f"http://images.{site.key}.localhost:{own['outside']}",
        )
        for site, door, own in zip(SITES, _DOORS, node_ports, strict=True)
    ]
    return State(seed=seed, data=data, hub=hub, nodes=nodes)


def found_the_hub(folder: Path, state: State) -> list[str]:
    """The hub with its accounts; gives one invitation for each node."""
    hub = state.hub
    found = NewHub(title=hub.title, public_url=hub.url, port=hub.ports["web"], broker_port=hub.ports["broker"])
    hub.id = found_hub(Path(hub.folder), folder / "keys" / "hub.json", found)
    with open_hub(Path(hub.folder)) as opened:
        for name, role, shown in PEOPLE:
            secret = password()
            accounts.add_account(opened.engine, name, secret, {role}, shown)
            state.accounts.append(Account("hub", name, secret, name.partition("-")[0]))
        return [invite(opened, hours=1) for _ in state.nodes]


def appoint_committees(state: State) -> None:
    """Let each node's committee decide on its datasets; the nodes have joined."""
    with open_hub(Path(state.hub.folder)) as opened:
        for place in state.nodes:
            committee.add(opened, place.id, f"{COMMITTEE}-{place.key}")


def found_the_node(folder: Path, state: State, place: Place) -> None:
    """A node with its source, project, accounts, clinical table and published dataset."""
    site = next(item for item in SITES if item.key == place.key)
    sources = {"dimse": ("aet", SENDER_AE), "stow": ("token", TOKEN_NAME), "folder": ("folder", str(aside_of(place)))}
    new = NewNode(
        title=site.name,
        institution=site.name,
        country=site.country_code,
        project=site.project,
        project_title=site.project_title,
        issuer=site.issuer,
        inside_port=place.ports["inside"],
        outside_port=place.ports["outside"],
        dimse_port=place.ports.get("dimse"),
        console_url=place.url,
        public_url=place.public_url,
        permits="trust-hub" if place.key == TRUSTING else "countersign",
        profile=_read_by_one() if place.key == READING else "research",
        sample=False,  # the cohort's plain images show no text, and the start shall be short
        sources=(sources[place.door],),
    )
    place.id = found_node(Path(place.folder), folder / "keys" / f"{place.key}.json", new)
    with open_node(Path(place.folder)) as node:
        secret = password()
        accounts.add_account(node.engine, "manager", secret, {"data-manager"}, "Mara Manager")
        state.accounts.append(Account(place.key, "manager", secret, "data-manager"))
        place.token = accounts.add_token(node.engine, TOKEN_NAME, {"sender"})
        place.staff_token = accounts.add_token(node.engine, "demo-staff", {"data-manager"})
        project = ProjectId(site.project)
        if not state.data:
            clinical.import_table(node, project, clinical_csv(patients(site, state.seed)))
        made = datasets.create(node, "demo", project, site.project_title, description=_about(site, state))
        datasets.publish(node, "demo", made.iri)


def _read_by_one() -> str:
    """The profile `research`, and one reader for what text was found in."""
    options = ", ".join(f'"{option}"' for option in load_profile("research").options)
    return f'name = "research, read"\noptions = [{options}]\nreview = "one"\n'


def _about(site: Site, state: State) -> str:
    if state.data:
        return f"Images given to the demonstration, as {site.name} would hold them."
    return (
        "CT, MR and PET of persons with cancer, with segmentations and a clinical table, "
        f"from {site.name}, {site.city}. "
        "Made up: neither the persons nor the institution exist."
    )
