"""What can be done about what waits in quarantine, for each reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from carina.model.instance import Reason

Remedy = Literal["retry", "profile", "review", "discard"]
"""`retry` as it is; by another `profile`; a reader's `review`; `discard`."""


@dataclass(frozen=True)
class Remedies:
    """What may be done, what makes most sense first; and what a data manager should know before."""

    actions: tuple[Remedy, ...]
    advice: str


REMEDIES: Mapping[Reason, Remedies] = {
    Reason.NOT_DICOM: Remedies(
        ("discard", "retry"), "Nothing can be made of it. Discard it, and see why its source sends such files."
    ),
    Reason.DAMAGED: Remedies(
        ("discard", "retry"), "Ask its source to send it again, then discard this one: what is missing stays missing."
    ),
    Reason.UNKNOWN_TRANSFER_SYNTAX: Remedies(
        ("discard", "retry"),
        "Ask its source to send it in another transfer syntax, or try it again after an upgrade of this node.",
    ),
    Reason.MISSING_IDENTITY: Remedies(
        ("discard", "retry"), "Whoever made the file must complete it and send it again; then discard this one."
    ),
    Reason.UNMAPPED_SOURCE: Remedies(
        ("retry", "discard"),
        "Assign its source to a project in node.toml and restart the node; then try it again.",
    ),
    Reason.PIXELS_NOT_CHECKED: Remedies(
        ("retry", "profile", "discard"),
        "It waits until its pixels have been searched. Where the project's profile does not have that done, another "
        "profile that does can be chosen.",
    ),
    Reason.CONTENT_NOT_CHECKED: Remedies(
        ("profile", "retry", "discard"),
        "The project's profile does not clean this kind of object. A profile that does can be chosen; else discard it.",
    ),
    Reason.TEXT_IN_PIXELS: Remedies(
        ("review", "retry", "discard"), "A reader looks at the image under Review, and says what is to be blanked."
    ),
    Reason.IDENTIFIERS_LEFT: Remedies(
        ("profile", "retry", "discard"),
        "A profile that keeps less may leave nothing that identifies. If that does not help either, discard it.",
    ),
    Reason.NOT_PSEUDONYMISED: Remedies(
        ("retry", "discard"),
        "If its study comes later, try it again then. If its source does not pseudonymise, correct node.toml first.",
    ),
    Reason.CONFLICT: Remedies(
        ("discard", "retry"),
        "The archive keeps the one that came first. Discard this one, unless the first has been removed since.",
    ),
    Reason.TOO_LARGE: Remedies(
        ("retry", "discard"), "Raise the largest instance in node.toml and restart the node; then try it again."
    ),
    Reason.FAILED: Remedies(
        ("retry", "discard"), "Try it again. If it fails again, the node's log names the error; keep it for a report."
    ),
}
