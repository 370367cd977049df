"""`carina deid profile`: what a de-identification profile does with each attribute, and why."""

from __future__ import annotations

import dataclasses
import json

import click

from carina.cli.tables import print_table
from carina.deid.profile import BUILT_IN, OFFERED, Profile, profile_of
from carina.deid.rules import table
from carina.deid.rules.told import Told, told_rules
from carina.errors import BadSettings

_PARTS = {
    "table": f"Attributes of PS3.15 Table E.1-1, edition {table.EDITION}",
    "content": f"Content items of PS3.15 Table E.3.4-1, edition {table.EDITION}",
    "technique": "Attributes of technique that no table lists",
    "default": "All other attributes, by VR",
    "private": "Private elements on the safe list, where their values fit",
}


@click.group()
def profile() -> None:
    """See what a de-identification profile does."""


@profile.command()
@click.argument("name_or_file", metavar="[NAME|FILE]", default="research")
@click.option("--option", "options", multiple=True, help="An option to add to the profile; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name_or_file: str, options: tuple[str, ...], as_json: bool) -> None:
    """Print each rule of a profile and its reason: a built-in one's name, or a TOML file."""
    chosen = _with(profile_of(name_or_file), options)
    rules = list(told_rules(chosen.options))
    if as_json:
        head = {"name": chosen.name, "options": chosen.options, "review": chosen.review, "digest": chosen.digest}
        source = {"edition": table.EDITION, "table_sha256": table.DIGEST}
        click.echo(json.dumps(head | source | {"rules": [dataclasses.asdict(rule) for rule in rules]}, indent=1))
        return
    click.echo(f"Profile {chosen.name}, digest {chosen.digest}")
    click.echo(f"Options: {', '.join(chosen.options) or 'none'}. Readers of found text: {chosen.review}.")
    for part, title in _PARTS.items():
        _print_part(title, [rule for rule in rules if rule.part == part])


@profile.command("list")
def list_() -> None:
    """Print the built-in profiles and their options."""
    rows = ((item.name, ", ".join(item.options), item.review) for item in BUILT_IN.values())
    print_table(("Profile", "Options", "Readers"), rows)
    click.echo(f"Options that a profile may choose: {', '.join(OFFERED)}.")


def _with(chosen: Profile, options: tuple[str, ...]) -> Profile:
    if not set(options) <= set(OFFERED):
        raise BadSettings("There is no such option of a de-identification profile.", f"Offered: {', '.join(OFFERED)}.")
    return dataclasses.replace(chosen, options=tuple(sorted({*chosen.options, *options})))


def _print_part(title: str, rules: list[Told]) -> None:
    if rules:
        click.echo(f"\n{title}:")
        rows = ((rule.subject, rule.name, rule.action, rule.reason) for rule in rules)
        print_table(("What", "Name", "Action", "Reason"), rows)
