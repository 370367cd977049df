"""`carina node`: found, run and feed a site. Accounts, tokens and merged identifiers are in `cli.node_people`,
permits and snapshots in `cli.node_permits`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from carina.app.rekey import replace_node_signing_key
from carina.app.site import open_node
from carina.cli.node_archive import export_, import_, verify
from carina.cli.node_asked import asked
from carina.cli.node_audit import audit, job
from carina.cli.node_doctor import doctor
from carina.cli.node_evidence import evidence, reveal
from carina.cli.node_forget import forget, patient
from carina.cli.node_init import init
from carina.cli.node_people import account, alias, hub, token
from carina.cli.node_permits import permit, snapshot
from carina.cli.node_quarantine import quarantine_
from carina.cli.node_review import review_
from carina.cli.node_status import arrivals, list_keys, status, storage_
from carina.cli.send import send_stored
from carina.cli.tables import plain, print_facts, print_table
from carina.errors import BadInput, InvalidTable
from carina.interfaces.api.node_datasets import dataset_to_json, standing_to_json
from carina.model.cohort import from_pairs
from carina.model.ids import project_id
from carina.model.instance import Source
from carina.model.permit import ACTIONS
from carina.model.variables import RANGES
from carina.node import clinical, datasets
from carina.node.datasetstate import described
from carina.node.ingest import receive
from carina.node.site import Node

ACTOR = "operator"
RECEIVED = "received"
_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def node() -> None:
    """Run a node: a site that holds images. FOLDER is always the node's own folder."""


@node.command("serve")
@_folder
def serve_(folder: Path) -> None:
    """Run the node until Ctrl-C."""
    from carina.app.node import serve  # all doors at once: what the other commands do not wait for

    serve(folder)


@node.command()
@_folder
@click.argument("invitation", required=False)
def join(folder: Path, invitation: str | None) -> None:
    """Join the hub that INVITATION names; without it, it is read from standard input."""
    from carina.app.node import join as join_hub

    text = invitation or sys.stdin.readline()
    joined = join_hub(folder, text.strip())
    click.echo(f"Joined {plain(joined.title)} ({joined.id}). A running node connects by itself.")


@node.command()
@_folder
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--source", "name", help="The folder source of node.toml they count as; else the one that holds them.")
def ingest(folder: Path, paths: tuple[Path, ...], name: str | None) -> None:
    """Take DICOM files and folders in. What is received is safe; the running node works on it.

    Ends with 0 when all were received, else with 65: what was refused rests in quarantine, and is still with you.
    """
    results: Counter[str] = Counter()
    with open_node(folder) as opened:
        try:
            for path in _files(paths):
                source = Source("folder", name) if name else _source_of(opened, path)
                results[_take(opened, path, source)] += 1
        finally:
            for result, count in sorted(results.items()):
                click.echo(f"{count:6} {result}")
    others = results.total() - results[RECEIVED]
    if not results:
        raise BadInput("There are no files there.", "Name files, or folders that hold some.")
    if others:
        raise BadInput(f"{others} of {results.total()} files were not taken in.", "The list above says why.")


def _take(opened: Node, path: Path, source: Source) -> str:
    """What became of one file, in words."""
    try:
        data = path.read_bytes()
    except OSError:
        return "not read: the file cannot be opened."
    receipt = receive(opened, data, source)
    return RECEIVED if receipt.reason is None else f"refused: {receipt.reason.sentence}"


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (found for found in sorted(path.rglob("*")) if found.is_file())
        else:
            yield path


def _source_of(opened: Node, path: Path) -> Source:
    """The nearest configured folder that holds `path`; else its own folder, which no project has."""
    known = {source.name for source in opened.project_of if source.kind == "folder"}
    holder = next((str(parent) for parent in path.resolve().parents if str(parent) in known), None)
    return Source("folder", holder or str(path.resolve().parent))


@node.group()
def dataset() -> None:
    """What the node describes to its hubs."""


@dataset.command()
@_folder
@click.option("--project", required=True, help="Whose images.")
@click.option("--title", required=True, help="As the catalogue shows it.")
@click.option("--description", default="", help="A few sentences.")
@click.option("--query", "terms", multiple=True, help="A term such as modality=CT; repeatable. None: the whole intake.")
@click.option("--action", "actions", multiple=True, type=click.Choice(ACTIONS), help="Permits may be for; repeatable.")
@click.option("--longest-days", type=int, help="Of a permit; without, as the node's settings say.")
def create(
    folder: Path, project: str, title: str, description: str, terms: tuple[str, ...],
    actions: tuple[str, ...], longest_days: int | None,
) -> None:  # fmt: skip
    """Make a draft."""
    pairs = []
    for term in terms:
        name, equals, value = term.partition("=")
        if not equals:
            raise BadInput("A term has no value.", "Write it as modality=CT.")
        pairs.append((name, value))
    with open_node(folder) as opened:
        made = datasets.create(
            opened, ACTOR, project_id(project), title, description=description, query=from_pairs(pairs, RANGES),
            actions=actions or None, longest_days=longest_days,
        )  # fmt: skip
    click.echo(made.iri)


@dataset.command("list")
@_folder
@_json
def list_datasets(folder: Path, as_json: bool) -> None:
    """List the datasets with their state."""
    with open_node(folder) as opened:
        found = datasets.listed(opened)
    if as_json:
        click.echo(json.dumps([dataset_to_json(one) for one in found], indent=1, ensure_ascii=False))
    else:
        print_table(
            ("IRI", "Project", "State", "Title"), [(made.iri, made.project, made.state, made.title) for made in found]
        )


@dataset.command("show")
@_folder
@click.argument("iri")
@_json
def show_dataset(folder: Path, iri: str, as_json: bool) -> None:
    """Show how a dataset stands: what it holds, what the hubs know of it, and who may use it."""
    with open_node(folder) as opened:
        made = datasets.get(opened, iri)
        found = standing_to_json(opened, made, described(opened, made))
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    told = {
        name: str(value) for name, value in found.items() if value is not None and not isinstance(value, list | dict)
    }
    told["patients"] = _few(found["patients"], found["threshold"])
    told["uses"] = ", ".join(f"{name} {count}" for name, count in found["uses"].items())
    told["hubs"] = ", ".join(f"{one['title']} (last heard {one['last_contact'] or 'never'})" for one in found["hubs"])
    told["snapshots"] = ", ".join(f"{one['number']} ({one['instances']} images)" for one in found["snapshots"])
    for name, groups in found["groups"].items():
        told[name] = ", ".join(f"{one['value']}: {_few(one['patients'], found['threshold'])}" for one in groups)
    print_facts({name.replace("_", " "): value for name, value in told.items() if value})


def _few(patients: int | None, threshold: int) -> str:
    return f"fewer than {threshold}" if patients is None else str(patients)


@dataset.command()
@_folder
@click.argument("iri")
def publish(folder: Path, iri: str) -> None:
    """Describe the dataset to the node's hubs; small groups are hidden."""
    with open_node(folder) as opened:
        description = datasets.publish(opened, ACTOR, iri)
    shown = f"fewer than {description.threshold}" if description.patients is None else description.patients
    click.echo(f"Published: {shown} patients. The hubs are told at once if the node runs.")


@dataset.command()
@_folder
@click.argument("iri")
def withdraw(folder: Path, iri: str) -> None:
    """Take the dataset out of catalogue and searches."""
    with open_node(folder) as opened:
        datasets.withdraw(opened, ACTOR, iri)
    click.echo("Withdrawn.")


@node.group("clinical")
def clinical_() -> None:
    """What is known of the persons besides their images."""


@clinical_.command("import")
@_folder
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--project", required=True, help="Whose persons.")
def import_clinical(folder: Path, table: Path, project: str) -> None:
    """Take the CSV file TABLE in; its persons get the same pseudonyms as their images."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidTable("The file is not UTF-8.", "Save it as CSV in UTF-8.") from None
    with open_node(folder) as opened:
        report = clinical.import_table(opened, project_id(project), text, ACTOR)
    click.echo(f"{report.rows} rows of {report.persons} persons are kept.")
    if report.without_images:
        click.echo(f"{report.without_images} of these persons have no images here yet; their rows wait for them.")
    if report.forgotten:
        click.echo(f"{report.forgotten} persons of the table are forgotten here: their rows were left out.")


@node.group()
def key() -> None:
    """The node's keys: a list of all, and a new one that signs messages."""


@key.command("replace")
@_folder
def replace_key(folder: Path) -> None:
    """Replace the signing key, under the old one's signature. Stop the node first."""
    file = replace_node_signing_key(folder)
    click.echo(f"The new key is in force. Make a new back-up of {file} now.")


node.add_command(init)
node.add_command(doctor)
node.add_command(account)
node.add_command(token)
node.add_command(alias)
node.add_command(hub)
node.add_command(permit)
node.add_command(quarantine_)
node.add_command(review_)
node.add_command(asked)
node.add_command(audit)
node.add_command(job)
node.add_command(evidence)
node.add_command(reveal)
node.add_command(send_stored)
node.add_command(forget)
node.add_command(patient)
dataset.add_command(snapshot)
key.add_command(list_keys)
for _command in (verify, export_, import_, status, arrivals, storage_):
    node.add_command(_command)
