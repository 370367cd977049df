"""What a person pastes to repeat with the client or the command line what a page shows."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from carina.interfaces.language import mark
from carina.model.cohort import All, Between, OneOf, Query, to_pairs
from carina.model.ids import DatasetIri


@dataclass(frozen=True)
class Snippet:
    """A text to copy."""

    id: str
    label: str
    text: str


def search_snippets(url: str, query: Query) -> list[Snippet]:
    """The search in Python and for the shell."""
    parts = query.parts if isinstance(query, All) else (query,)
    arguments = ", ".join(_argument(part) for part in parts if isinstance(part, OneOf | Between))
    terms = " ".join(f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in to_pairs(query))
    python = f'import carina\n\nwith carina.connect("{url}") as hub:\n    print(hub.search({arguments}))'
    return [
        Snippet("python", "Python", python),
        Snippet("shell", mark("Command line"), f"carina login {url}\ncarina search {url} {terms}".rstrip()),
    ]


def dataset_snippets(url: str, iri: DatasetIri) -> list[Snippet]:
    """The dataset's description in Python, and the list for the shell."""
    python = f'import carina\n\nwith carina.connect("{url}") as hub:\n    print(hub.dataset("{iri}"))'
    return [Snippet("python", "Python", python), Snippet("shell", mark("Command line"), f"carina datasets {url}")]


def permit_snippets(url: str, permit: str, *, images: bool, analyse: bool) -> list[Snippet]:
    """The use of a permit in Python and for the shell.

    images    its node opens images
    analyse   it is for analyses
    """
    python = f'import carina\n\nwith carina.connect("{url}") as hub:'
    shell = f"carina login {url}\ncarina permits show {permit}"
    if images:
        python += f'\n    with hub.open("{permit}") as images:\n        print(images.studies())'
    if analyse:
        python += f'\n    run = hub.run(["{permit}"])'
        shell += f"\ncarina run start {permit} --wait"
    return [Snippet("python", "Python", python), Snippet("shell", mark("Command line"), shell)]


def series_snippet(url: str, permit: str, study: str, series: str, *, retrieve: bool) -> Snippet:
    """A series under a permit, in Python.

    url       the hub's
    retrieve  whether the permit is for fetching the objects; else only their list can be had
    """
    use = "volume = series.volume()  # or series.datasets(), one by one" if retrieve else "print(series.instances())"
    return Snippet(
        "python",
        "Python",
        f'import carina\n\nwith carina.connect("{url}") as hub, hub.open("{permit}") as images:\n'
        f'    found = images.series("{study}")\n'
        f'    series = next(one for one in found if one.uid == "{series}")\n    {use}',
    )


def _argument(part: OneOf | Between) -> str:
    if isinstance(part, Between):
        return f"{part.variable}=({part.low}, {part.high})"
    if len(part.values) == 1:
        return f'{part.variable}="{part.values[0]}"'
    values = ", ".join(f'"{value}"' for value in part.values)
    return f"{part.variable}=[{values}]"
