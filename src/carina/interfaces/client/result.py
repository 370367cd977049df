"""What a search gives a researcher: one line per node, the total, and what is not in it."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

from carina.interfaces.api.documents import answer_to_json, total_to_json
from carina.model.cohort import Query, to_json
from carina.model.search import NodeAnswer, Total, total

HEADINGS = ("Node", "Country", "Patients", "Studies", "")


@dataclass(frozen=True)
class SearchResult:
    """Answers of all nodes that were asked, and their total; a partial answer is ordinary."""

    query: Query
    answers: tuple[NodeAnswer, ...]
    total: Total

    def to_json(self) -> dict[str, object]:
        """The same as plain JSON."""
        return {
            "query": to_json(self.query),
            "answers": [answer_to_json(answer) for answer in self.answers],
            "total": total_to_json(self.total),
        }

    def __repr__(self) -> str:
        rows = [HEADINGS, *(row_of(answer) for answer in self.answers)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, total_line(self.total)])

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in HEADINGS)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row_of(answer))}</tr>" for answer in self.answers
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}<p>{html.escape(total_line(self.total))}</p>"


def gathered(query: Query, answers: Iterable[NodeAnswer]) -> SearchResult:
    """The result of all answers, by name of the node."""
    ordered = tuple(sorted(answers, key=lambda answer: (answer.title.casefold(), answer.node)))
    return SearchResult(query, ordered, total(list(ordered)))


def row_of(answer: NodeAnswer) -> tuple[str, str, str, str, str]:
    """One node's line: name, country, patients, studies, and what else there is to say."""
    patients, studies = "–", "–"
    if answer.counts is not None:
        shown, further = answer.counts.patients, answer.counts.studies
        patients = f"fewer than {answer.counts.threshold}" if shown is None else f"{shown:,}"
        studies = "not shown" if further is None else f"{further:,}"
    return answer.title, answer.country, patients, studies, note_of(answer)


def note_of(answer: NodeAnswer) -> str:
    """Why a node gave no numbers; empty when it did, or is below the threshold."""
    match answer.state:
        case "silent":
            return "did not answer in time"
        case "unknown-terms":
            return f"does not know {', '.join(answer.unknown)}"
        case "refused":
            return f"refused ({answer.reason})" if answer.reason else "refused"
        case _:
            return ""


def total_line(sums: Total) -> str:
    """`Total: 57 patients, 80 studies of 2 nodes, and 1 node below the threshold; 1 silent.`

    Where no node gave a number there is none: `No number to show: 3 nodes below the threshold.`
    """
    below = f"{_nodes(sums.below_threshold)} below the threshold" if sums.below_threshold else ""
    if sums.counted:
        line = f"Total: {sums.patients:,} patients, {sums.studies:,} studies of {_nodes(sums.counted)}"
        line += f", and {below}" if below else ""
    else:
        line = f"No number to show: {below}" if below else "No node gave a number"
    others = [
        f"{number} {words}"
        for number, words in (
            (sums.unknown, "without all the terms"),
            (sums.refused, "refused"),
            (sums.silent, "silent"),
        )
        if number
    ]
    return f"{line}; {', '.join(others)}." if others else f"{line}."


def _nodes(number: int) -> str:
    return "1 node" if number == 1 else f"{number} nodes"
