"""`carina node`: found, run and feed a site. Accounts, tokens and merged identifiers are in `cli.node_people`,
permits and snapshots in `cli.node_permits`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from carina.app.found import NewNode, found_node
from carina.app.rekey import replace_node_signing_key
from carina.app.site import open_node
from carina.cli.backup import HELP, PROMPT, backup_place, save_backup
from carina.cli.node_archive import export_, import_, verify
from carina.cli.node_evidence import evidence, reveal
from carina.cli.node_forget import forget, patient
from carina.cli.node_people import account, alias, hub, token
from carina.cli.node_permits import permit, snapshot
from carina.cli.send import send_stored
from carina.cli.tables import plain, print_table
from carina.errors import BadInput, FinderUnavailable, InvalidTable
from carina.model.cohort import from_pairs
from carina.model.ids import project_id
from carina.model.instance import Reason, Source
from carina.model.permit import ACTIONS
from carina.model.variables import RANGES
from carina.node import clinical, datasets, quarantine
from carina.node.ingest import receive
from carina.node.site import Node
from carina.node.status import status as status_of

ACTOR = "operator"
RECEIVED = "received"
_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.group()
def node() -> None:
    """Run a node: a site that holds images. FOLDER is always the node's own folder."""


@node.command("init")
@_folder
@click.option("--title", prompt="Name of the site", help="What people call the node.")
@click.option("--institution", prompt="Institution that holds the images", help="As the catalogue shows it.")
@click.option("--country", prompt="Country (two letters, as in ES)", help="ISO 3166-1 code.")
@click.option("--project", default="main", show_default=True, help="Short name of the first project.")
@click.option("--project-title", default="Cancer imaging", show_default=True, help="What it is about.")
@click.option("--issuer", default="", help="Of patient identifiers, where an image names none.")
@click.option(
    "--keys", type=click.Path(dir_okay=False, path_type=Path), help="Where the key file goes; outside FOLDER."
)
@click.option("--key-backup", prompt=PROMPT, help=HELP)
@click.option("--inside-port", type=int, default=8721, show_default=True, help="Console, ingest, staff.")
@click.option("--outside-port", type=int, default=8722, show_default=True, help="What others may reach.")
@click.option("--dimse-port", type=int, default=11112, show_default=True, help="DICOM network.")
@click.option("--ae-title", default="CARINA", show_default=True, help="The node's AE title.")
@click.option("--aet", "aets", multiple=True, help="A calling AE title that is a source; repeatable.")
@click.option("--source-folder", "folders", multiple=True, type=click.Path(path_type=Path), help="A folder likewise.")
def init(
    folder: Path, title: str, institution: str, country: str, project: str, project_title: str, issuer: str,
    keys: Path | None, key_backup: str, inside_port: int, outside_port: int, dimse_port: int, ae_title: str,
    aets: tuple[str, ...], folders: tuple[Path, ...],
) -> None:  # fmt: skip
    """Make a node in FOLDER: settings, keys, records."""
    keys = keys or folder.resolve().parent / f"{folder.resolve().name}-keys" / "node.json"
    sources = [("aet", aet) for aet in aets] + [("folder", str(path.resolve())) for path in folders]
    new = NewNode(
        title=title, institution=institution, country=country.upper(), project=project, project_title=project_title,
        issuer=issuer, inside_port=inside_port, outside_port=outside_port, dimse_port=dimse_port, ae_title=ae_title,
        sources=tuple(sources),
    )  # fmt: skip
    place = backup_place(keys, key_backup, folder)
    made = found_node(folder, keys, new)
    save_backup(keys, place)
    click.echo(f"The node {made} is ready in {folder}; its settings are in {folder / 'node.toml'}.")
    click.echo(f"Next: carina node account add {folder} NAME, then carina node serve {folder}")


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


@node.command()
@_folder
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(folder: Path, as_json: bool) -> None:
    """Show what the node holds and what waits."""
    with open_node(folder) as opened:
        found = status_of(opened)
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    archive, spool = found["archive"], found["spool"]
    click.echo(f"{found['title']} ({found['id']})")
    click.echo("Archive: " + ", ".join(f"{count} {name}" for name, count in archive.items()))
    click.echo(
        f"Studies: {found['studies']['complete']} complete, {found['studies']['receiving']} may still get images; "
        f"complete after {found['quiet']} s without one"
    )
    click.echo(_spool_line(spool))
    for reason, count in found["quarantine"].items():
        click.echo(f"Quarantine: {count} {reason}. {Reason(reason).sentence}")
    for line in _pixel_lines(found):
        click.echo(line)
    for known in found["hubs"]:
        heard = known["last_contact"] or "never"
        click.echo(plain(f"Hub: {known['title']} ({known['state']}, last heard {heard})"))
    click.echo(f"Disk: {found['disk_free'] / 1e9:.1f} of {found['disk_size'] / 1e9:.1f} GB free")


def _spool_line(spool: Mapping[str, Any]) -> str:
    line = f"Spool: {spool['waiting']} waiting"
    if spool["waiting"]:
        line += f" ({spool['size'] / 1e6:.1f} MB), the oldest since {spool['oldest']}"
        line += f", worked on by {', '.join(spool['workers'])}" if spool["workers"] else ", worked on by nobody now"
    return line


def _pixel_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What became of the search for text in pixels, of `status`; nothing where none was searched or waits."""
    pixels = found["pixels"]
    waits = {"waiting": "wait to be searched", "flagged": "wait for a reader", "failed": "could not be searched"}
    told = [f"{pixels[state]} {what}" for state, what in waits.items() if pixels.get(state)]
    if told or pixels["looked_at"]:
        yield "Pixels: " + ", ".join([f"{pixels['looked_at']} searched for text", *told])
    if found["text_finder"]:
        error = FinderUnavailable()
        yield f"Pixels: what is to be searched waits. {error.message} {error.hint}"


@node.group("quarantine")
def quarantine_() -> None:
    """What could not pass, and what becomes of it."""


@quarantine_.command("list")
@_folder
@click.option("--reason", type=click.Choice([item.value for item in Reason]), help="Each entry of one reason.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_quarantine(folder: Path, reason: str | None, as_json: bool) -> None:
    """Show the reasons with their counts, or the entries of one reason."""
    with open_node(folder) as opened:
        heaps = quarantine.heaps(opened)
        entries = quarantine.entries(opened, Reason(reason), limit=1000) if reason else []
    if as_json:
        rows = (
            [{"id": item.id, "reason": item.reason, "modality": item.modality, "received_at": item.received_at,
              "source": str(item.source), "size": item.size} for item in entries]
            if reason
            else [{"reason": heap.reason, "count": heap.count, "sentence": heap.sentence} for heap in heaps]
        )  # fmt: skip
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    elif reason:
        shown = [
            (item.id, item.modality or "–", str(item.source), item.received_at[:19], str(item.size)) for item in entries
        ]
        print_table(("Id", "Modality", "Source", "Received", "Bytes"), shown, numbers=(4,))
    elif heaps:
        counts = [(heap.reason.value, str(heap.count), heap.sentence) for heap in heaps]
        print_table(("Reason", "Count", "Meaning"), counts, numbers=(1,))
    else:
        click.echo("Nothing is in quarantine.")


_ids = click.argument("ids", nargs=-1)
_reason = click.option("--reason", type=click.Choice([item.value for item in Reason]), help="All of one reason.")


@quarantine_.command()
@_folder
@_ids
@_reason
def retry(folder: Path, ids: tuple[str, ...], reason: str | None) -> None:
    """Give entries back to the workers, say after a setting was corrected."""
    _require_choice(ids, reason)
    with open_node(folder) as opened:
        count = quarantine.retry(opened, ACTOR, ids=ids, reason=Reason(reason) if reason else None)
    click.echo(f"{count} will be tried again.")


@quarantine_.command()
@_folder
@_ids
@_reason
@click.confirmation_option(prompt="Their bytes are destroyed for good. Go on?")
def discard(folder: Path, ids: tuple[str, ...], reason: str | None) -> None:
    """Destroy entries for good; the record that they came stays."""
    _require_choice(ids, reason)
    with open_node(folder) as opened:
        count = quarantine.discard(opened, ACTOR, ids=ids, reason=Reason(reason) if reason else None)
    click.echo(f"{count} discarded.")


def _require_choice(ids: tuple[str, ...], reason: str | None) -> None:
    if bool(ids) == bool(reason):
        raise BadInput("Nothing was chosen, or two things.", "Name ids, or one --reason.")


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
def list_datasets(folder: Path) -> None:
    """List the datasets with their state."""
    with open_node(folder) as opened:
        rows = [(made.iri, made.project, made.state, made.title) for made in datasets.listed(opened)]
    print_table(("IRI", "Project", "State", "Title"), rows)


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
    """The key that signs messages."""


@key.command("replace")
@_folder
def replace_key(folder: Path) -> None:
    """Replace the signing key, under the old one's signature. Stop the node first."""
    file = replace_node_signing_key(folder)
    click.echo(f"The new key is in force. Make a new back-up of {file} now.")


@node.command()
@_folder
def audit(folder: Path) -> None:
    """Check the audit trail from its first row."""
    with open_node(folder) as opened:
        click.echo(f"The audit trail is whole: {opened.audit.verify()} rows.")


node.add_command(account)
node.add_command(token)
node.add_command(alias)
node.add_command(hub)
node.add_command(permit)
node.add_command(evidence)
node.add_command(reveal)
node.add_command(send_stored)
node.add_command(forget)
node.add_command(patient)
dataset.add_command(snapshot)
for _command in (verify, export_, import_):
    node.add_command(_command)
