"""Other profiles by which something in quarantine may be tried: such as the site has chosen itself, and the strictest.

Offered are the built-in `basic`, and the profiles of this node's other projects. What a project's own profile does to
pixels and faces, and how many readers it asks for, is never given up: each other profile has that added.
"""

from __future__ import annotations

from dataclasses import dataclass

from carina.deid.profile import BUILT_IN, PIXEL_DATA, VISUAL_FEATURES, Profile, Review
from carina.errors import BadInput
from carina.model.ids import ProjectId
from carina.node.site import Node, Project

OF_PROJECT = "project/"
"""How the word for another project's profile begins; its id follows."""
_PROTECTIONS = frozenset({PIXEL_DATA, VISUAL_FEATURES})
_REVIEWS: tuple[Review, ...] = ("never", "one", "two")


@dataclass(frozen=True)
class Alternative:
    """One that is offered. `keeps`, `removes`: options by which it keeps more or less than the project's own.

    word      names it, as in `arrivals.profile`
    searches  whether it has pixels searched for text, which the project's own does not
    """

    word: str
    profile: Profile
    keeps: tuple[str, ...]
    removes: tuple[str, ...]
    searches: bool


def offered(node: Node, project: Project) -> list[Alternative]:
    """What may be chosen for something of this project; none that is the same as its own."""
    words = {"basic": BUILT_IN["basic"]}
    words |= {f"{OF_PROJECT}{other.id}": other.profile for other in node.projects.values() if other.id != project.id}
    found: dict[str, Alternative] = {}
    for word, profile in words.items():
        merged = _protected(profile, project.profile)
        if merged.digest != project.profile.digest:
            found.setdefault(merged.digest, _alternative(word, merged, project.profile))
    return list(found.values())


def chosen_profile(node: Node, project: Project, word: str) -> Profile | None:
    """The profile of a word, as it is for this project; None when this node does not have it any more."""
    if word in BUILT_IN and word == "basic":
        return _protected(BUILT_IN[word], project.profile)
    other = node.projects.get(ProjectId(word.removeprefix(OF_PROJECT))) if word.startswith(OF_PROJECT) else None
    return None if other is None else _protected(other.profile, project.profile)


def require_offered(node: Node, project: ProjectId | None, word: str) -> None:
    """Raise `BadInput` unless this profile is offered for what belongs to this project."""
    mine = None if project is None else node.projects.get(project)
    if mine is None:
        raise BadInput("It belongs to no project, and so has no profile.", "Assign its source to a project first.")
    words = [one.word for one in offered(node, mine)]
    if word not in words:
        raise BadInput("This profile is not offered here.", f"Choose one of: {', '.join(words) or 'none is'}.")


def _alternative(word: str, profile: Profile, own: Profile) -> Alternative:
    more, less = set(profile.options) - set(own.options), set(own.options) - set(profile.options)
    kept = tuple(sorted(more - _PROTECTIONS))
    return Alternative(word, profile, kept, tuple(sorted(less)), searches=PIXEL_DATA in more)


def _protected(profile: Profile, own: Profile) -> Profile:
    """The profile with what protects pixels and faces in the project's own, and as many readers at least."""
    options = set(profile.options) | (set(own.options) & _PROTECTIONS)
    review = max(profile.review, own.review, key=_REVIEWS.index)
    return Profile(profile.name, tuple(sorted(options)), review)
