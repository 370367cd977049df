"""`carina node quarantine`: what could not pass, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from carina.app.site import open_node
from carina.cli.tables import print_facts, print_table
from carina.errors import BadInput
from carina.interfaces.api.quarantine import held_to_json, one_to_json
from carina.model.instance import Reason
from carina.node import discarded, quarantine
from carina.node.quarantine import Wanted
from carina.node.remedies import REMEDIES
from carina.node.sender import sender_of

ACTOR = "operator"
MOST = 1000  # entries of one list
_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_ids = click.argument("ids", nargs=-1)
_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group("quarantine")
def quarantine_() -> None:
    """What could not pass, and what becomes of it."""


def _filters(command: Any) -> Any:
    """The options that narrow a list, or what is to be done to it."""
    options = (
        click.option("--reason", type=click.Choice([item.value for item in Reason]), help="All of one reason."),
        click.option("--source", default="", help="Only of this source, as aet:SCANNER."),
        click.option("--project", default="", help="Only of this project."),
        click.option("--modality", default="", help="Only of this modality."),
        click.option("--days", type=click.IntRange(0), default=0, help="Only what was received so long ago or longer."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _wanted(given: dict[str, Any]) -> Wanted:
    reason = given.pop("reason")
    return Wanted(reason=Reason(reason) if reason else None, **given)


def _chosen(ids: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Ids, or what the filters leave; never all that is there because nothing was said."""
    wanted = _wanted(given)
    if bool(ids) == (wanted != quarantine.ALL):
        raise BadInput("Nothing was chosen, or two things.", "Name ids, or filters such as --reason.")
    return {"ids": ids} if ids else {"wanted": wanted}


@quarantine_.command("list")
@_folder
@_filters
@click.option("--discarded", "gone", is_flag=True, help="What is discarded and can still be taken back.")
@click.option("--after", default="", metavar="ID", help="Only entries after this one.")
@_json
def list_quarantine(folder: Path, gone: bool, after: str, as_json: bool, **given: Any) -> None:
    """Show the reasons with their counts, or the oldest 1000 entries that the options leave."""
    wanted = _wanted(given)
    single = gone or bool(after) or wanted != quarantine.ALL
    with open_node(folder) as opened:
        heaps = [] if single else quarantine.heaps(opened)
        state: quarantine.State = "discarded" if gone else "waiting"
        entries = quarantine.entries(opened, None, MOST, after, wanted=wanted, state=state) if single else []
        total = quarantine.count(opened, wanted, state) if single else 0
    if as_json:
        rows = (
            [held_to_json(item) for item in entries]
            if single
            else [{"reason": heap.reason, "count": heap.count, "sentence": heap.sentence,
                   "actions": list(REMEDIES[heap.reason].actions), "advice": REMEDIES[heap.reason].advice}
                  for heap in heaps]
        )  # fmt: skip
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    elif single:
        shown = [
            (item.id, item.reason.value, item.modality or "–", str(item.source), item.received_at[:19], str(item.size),
             (item.kept_until or "")[:19])
            for item in entries
        ]  # fmt: skip
        headings = ("Id", "Reason", "Modality", "Source", "Received", "Bytes", "Kept until")
        columns = len(headings) if gone else len(headings) - 1
        more = f"{len(entries)} of {total}; go on with --after {entries[-1].id}." if len(entries) == MOST else ""
        print_table(headings[:columns], [row[:columns] for row in shown], more, numbers=(5,))
    elif heaps:
        counts = [(heap.reason.value, str(heap.count), heap.sentence) for heap in heaps]
        print_table(("Reason", "Count", "Meaning"), counts, numbers=(1,))
    else:
        click.echo("Nothing is in quarantine.")


@quarantine_.command()
@_folder
@click.argument("entry", metavar="ID")
@click.option("--sender", is_flag=True, help="Also who sent it, as it called itself: that may name a person; audited.")
@_json
def show(folder: Path, entry: str, sender: bool, as_json: bool) -> None:
    """Show one entry, what can be done with it, and the profiles that are offered."""
    with open_node(folder) as opened:
        found = one_to_json(opened, entry)
        if sender:
            who = sender_of(opened, ACTOR, entry)
            found |= {"sender": str(who.source), "assigned": who.project}
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    profiles = found.pop("profiles")
    facts = {name: ", ".join(value) if isinstance(value, list) else str(value or "–") for name, value in found.items()}
    for one in profiles:
        more, less = (", ".join(one[name]) or "nothing" for name in ("keeps", "removes"))
        facts[f"profile {one['word']}"] = f"keeps more: {more}; removes more: {less}"
    print_facts(facts)


@quarantine_.command()
@_folder
@_ids
@_filters
@click.option("--profile", default="", help="De-identify by this profile instead; `show` names those offered.")
def retry(folder: Path, ids: tuple[str, ...], profile: str, **given: Any) -> None:
    """Give entries back to the workers, say after a setting was corrected."""
    chosen = _chosen(ids, given)
    with open_node(folder) as opened:
        count = quarantine.retry(opened, ACTOR, **chosen, profile=profile).count
    click.echo(f"{count} will be tried again.")


@quarantine_.command()
@_folder
@_ids
@_filters
@click.option("--now", "at_once", is_flag=True, help="Destroy their bytes at once, also of what is discarded already.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard(folder: Path, ids: tuple[str, ...], at_once: bool, yes: bool, **given: Any) -> None:
    """Discard entries; for 24 hours `restore` takes them back. The record that they came stays."""
    chosen = _chosen(ids, given)
    if not yes:
        sentence = "Their bytes are destroyed for good." if at_once else "After 24 hours their bytes are destroyed."
        click.confirm(f"{sentence} Go on?", abort=True)
    with open_node(folder) as opened:
        if not at_once:
            count = quarantine.discard(opened, ACTOR, **chosen)
        else:
            named = list(ids) or [*quarantine.ids(opened, chosen["wanted"]),
                                  *quarantine.ids(opened, chosen["wanted"], "discarded")]  # fmt: skip
            waiting = [one for one in named if quarantine.get(opened, one).state == "waiting"]
            quarantine.discard(opened, ACTOR, ids=waiting)
            count = discarded.destroy(opened, ACTOR, named)
    click.echo(f"{count} destroyed." if at_once else f"{count} discarded. `restore` takes them back within 24 hours.")


@quarantine_.command()
@_folder
@_ids
@_filters
def restore(folder: Path, ids: tuple[str, ...], **given: Any) -> None:
    """Take back what was discarded less than 24 hours ago."""
    chosen = _chosen(ids, given)
    with open_node(folder) as opened:
        count = quarantine.restore(opened, ACTOR, **chosen)
    click.echo(f"{count} taken back.")
