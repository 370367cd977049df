"""`carina send`: DICOM files to a PACS; and `carina node send`: what a node's archive holds, to one of its peers."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from carina.app.site import open_node
from carina.errors import BadInput, NotFound
from carina.interfaces.dimse.secure import client_context
from carina.interfaces.dimse.send import GOOD, SENTENCES, Outcome, from_archive, from_files
from carina.interfaces.dimse.send import send as send_all
from carina.model.instance import Peer
from carina.node.released import released_to
from carina.settings import load_node

ACTOR = "operator"
MOST_LISTED = 1000  # lines that name what was not sent
_AE_TITLE = re.compile(r"[!-\[\]-~][ -\[\]-~]{0,15}")
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("place", metavar="HOST:PORT")
@click.argument("title", metavar="AE-TITLE")
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--from", "caller", default="CARINA", show_default=True, help="The AE title that sends.")
@click.option("--tls", is_flag=True, help="The PACS speaks TLS.")
@click.option("--authorities", type=_file, help="PEM file with those whose certificates count; else the system's.")
@click.option("--certificate", type=_file, help="PEM file that shows who sends, if the PACS asks for that.")
@click.option("--key", type=_file, help="PEM file with its private key.")
def send(
    place: str, title: str, paths: tuple[Path, ...], caller: str, tls: bool, authorities: Path | None,
    certificate: Path | None, key: Path | None,
) -> None:  # fmt: skip
    """Send DICOM files and folders to the PACS AE-TITLE at HOST:PORT, as they are: nothing is de-identified.

    Ends with 0 when all were taken, else with 65, and names what was not by its number in the order of the names.
    """
    if not tls and (authorities or certificate or key):
        raise BadInput("Certificates are for TLS.", "Add --tls.")
    host, port = _place(place)
    peer = Peer(_title(title), host=host, port=port, tls=tls)
    context = client_context(certificate, key, authorities) if tls else None
    files = list(_files(paths))
    if not files:
        raise BadInput("There are no files there.", "Name files, or folders that hold some.")
    _say(_shown(send_all(peer, from_files(files), caller=_title(caller), tls=context), len(files)))


@click.command("send")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("title", metavar="PEER")
@click.option("--study", "studies", multiple=True, help="A Study Instance UID of the archive; repeatable.")
@click.option("--dataset", "iri", help="All that a dataset holds, by its IRI.")
def send_stored(folder: Path, title: str, studies: tuple[str, ...], iri: str | None) -> None:
    """Send studies of the archive, or a dataset, to PEER, an AE title of [[peers]] in node.toml; audited as released.

    Ends as `carina send` does.
    """
    if bool(studies) == bool(iri):
        raise BadInput("Nothing was chosen, or two things.", "Name studies, or one --dataset.")
    settings = load_node(folder)
    with open_node(folder, settings) as node:
        peer = node.peers.get(title)
        if peer is None:
            raise NotFound("This node has no such peer.", "Add it to [[peers]] in node.toml.")
        dimse = settings.dimse
        own = dimse.tls if dimse is not None else None
        context = client_context(own.certificate, own.key, own.clients) if peer.tls and own else None
        instances = released_to(node, ACTOR, peer, studies=studies, dataset=iri)
        caller = dimse.ae_title if dimse is not None else "CARINA"
        _say(_shown(send_all(peer, from_archive(node, instances), caller=caller, tls=context), len(instances)))


def _shown(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """With a bar for people."""
    if not sys.stderr.isatty():
        yield from outcomes
        return
    with click.progressbar(outcomes, length=total, label="Sending", file=sys.stderr) as bar:
        yield from bar


def _say(outcomes: Iterable[Outcome]) -> None:
    """Counts, and by number what was not taken; then the exit code says whether there was such."""
    counts: Counter[str] = Counter()
    others: list[Outcome] = []
    try:
        for one in outcomes:
            counts[one.end] += 1
            if one.end not in GOOD:
                others.append(one)
    finally:
        for end, sentence in SENTENCES.items():
            if counts[end]:
                click.echo(f"{counts[end]:6} {sentence}")
        for one in others[:MOST_LISTED]:
            status = "" if one.status is None else f" (status {one.status:04X})"
            click.echo(f"number {one.number}: {SENTENCES[one.end]}{status}")
    if others:
        raise BadInput(f"{len(others)} of {counts.total()} were not taken.", "The list above says which and why.")


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host.strip("[]") or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadInput("This is no place of a PACS.", "Write it as HOST:PORT, such as pacs.example.org:104.")
    return host.strip("[]"), int(port)


def _title(text: str) -> str:
    if not _AE_TITLE.fullmatch(text):
        raise BadInput("This AE title cannot be used.", "It has 1 to 16 ASCII characters, no backslash.")
    return text.strip()


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (found for found in sorted(path.rglob("*")) if found.is_file())
        else:
            yield path
