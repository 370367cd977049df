"""The JSON of the hub's API, both ways: the hub writes it, the client reads it. Standard library only."""

from __future__ import annotations

import re
from typing import Any, TypeAlias, get_args

from carina.errors import CarinaError
from carina.model.dataset import DatasetDescription, Group
from carina.model.ids import DatasetIri, NodeId, ProjectId
from carina.model.permit import ACTIONS, Action, Terms
from carina.model.search import AnswerState, Counts, NodeAnswer, Total
from carina.model.variables import Variable

Json: TypeAlias = dict[str, Any]

_TOTAL = ("patients", "studies", "counted", "below_threshold", "unknown", "refused", "silent")
_SUMS = ("patients", "studies", "series", "instances")


def error_word(kind: type[CarinaError]) -> str:
    """`InvalidQuery` → `invalid-query`, an error's name in problem details."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower()


def answer_to_json(answer: NodeAnswer) -> Json:
    """One node's part of a search. `patients` and `studies` are null below the threshold."""
    return {
        "node": answer.node,
        "title": answer.title,
        "country": answer.country,
        "state": answer.state,
        "counts": None
        if answer.counts is None
        else {
            "patients": answer.counts.patients,
            "studies": answer.counts.studies,
            "threshold": answer.counts.threshold,
        },
        "unknown": list(answer.unknown),
        "reason": answer.reason,
        "seconds": round(answer.seconds, 3),
    }


def answer_from_json(value: Json) -> NodeAnswer:
    """The answer of `answer_to_json`; `KeyError`, `TypeError` or `ValueError` for another shape."""
    if value["state"] not in get_args(AnswerState):
        raise ValueError("unknown state of an answer")
    counts = value["counts"]
    return NodeAnswer(
        node=NodeId(value["node"]),
        title=str(value["title"]),
        country=str(value["country"]),
        state=value["state"],
        counts=None
        if counts is None
        else Counts(_number(counts["patients"]), _number(counts["studies"]), int(counts["threshold"])),
        unknown=tuple(str(term) for term in value["unknown"]),
        reason=str(value["reason"]),
        seconds=float(value["seconds"]),
    )


def total_to_json(total: Total) -> Json:
    """The sum over the nodes that gave numbers, and how many others there are of each kind."""
    return {name: getattr(total, name) for name in _TOTAL}


def total_from_json(value: Json) -> Total:
    """The total of `total_to_json`; `KeyError`, `TypeError` or `ValueError` for another shape."""
    return Total(**{name: int(value[name]) for name in _TOTAL})


def dataset_to_json(dataset: DatasetDescription) -> Json:
    """A dataset as the catalogue shows it. Numbers are null where fewer than `threshold` patients are."""
    return {
        "iri": dataset.iri,
        "node": dataset.node,
        "project": dataset.project,
        "title": dataset.title,
        "description": dataset.description,
        "institution": dataset.institution,
        "country": dataset.country,
        "threshold": dataset.threshold,
        **{name: getattr(dataset, name) for name in _SUMS},
        "groups": {
            name: [{"value": group.value, "patients": group.patients} for group in groups]
            for name, groups in dataset.groups.items()
        },
        "digest": dataset.digest,
        "computed": dataset.computed,
        "terms": {
            "actions": list(dataset.terms.actions),
            "longest_days": dataset.terms.longest_days,
            "versions": list(dataset.terms.versions),
            "countersign": dataset.terms.countersign,
        },
    }


def dataset_from_json(value: Json) -> DatasetDescription:
    """The dataset of `dataset_to_json`; `KeyError`, `TypeError` or `ValueError` for another shape."""
    return DatasetDescription(
        iri=DatasetIri(value["iri"]),
        node=NodeId(value["node"]),
        project=ProjectId(value["project"]),
        title=str(value["title"]),
        description=str(value["description"]),
        institution=str(value["institution"]),
        country=str(value["country"]),
        threshold=int(value["threshold"]),
        patients=_number(value["patients"]),
        studies=_number(value["studies"]),
        series=_number(value["series"]),
        instances=_number(value["instances"]),
        groups={
            str(name): tuple(Group(str(group["value"]), _number(group["patients"])) for group in groups)
            for name, groups in value["groups"].items()
        },
        digest=str(value["digest"]),
        computed=str(value["computed"]),
        terms=_terms(value["terms"]),
    )


def _terms(value: Json) -> Terms:
    return Terms(
        actions=actions_from_json(value["actions"]),
        longest_days=int(value["longest_days"]),
        versions=tuple(int(number) for number in value["versions"]),
        countersign=bool(value["countersign"]),
    )


def actions_from_json(value: Any) -> tuple[Action, ...]:
    """What a permit, a request or a dataset's terms allow; `TypeError` or `ValueError` for another shape."""
    if any(action not in ACTIONS for action in value):
        raise ValueError("unknown action")
    return tuple(value)


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def variable_to_json(variable: Variable) -> Json:
    """One thing that a search may ask for."""
    return {
        "name": variable.name,
        "label": variable.label,
        "kind": variable.kind,
        "level": variable.level,
        "source": variable.source,
        "unit": variable.unit,
        "values": [{"value": value, "label": label} for value, label in variable.values],
    }


def variable_from_json(value: Json) -> Variable:
    """The variable of `variable_to_json`; `KeyError` or `TypeError` for another shape."""
    return Variable(
        name=str(value["name"]),
        label=str(value["label"]),
        kind=value["kind"],
        level=value["level"],
        source=str(value["source"]),
        unit=str(value["unit"]),
        values=tuple((str(item["value"]), str(item["label"])) for item in value["values"]),
    )
