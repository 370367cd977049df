"""A run's numbers leave as JSON and CSV, as doubles and without formulas."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from carina.compute import moments as computing
from carina.interfaces.api.exports import (
    COLUMNS,
    POOLED,
    Job,
    Pooled,
    Run,
    analysis_from_json,
    analysis_to_json,
    moments_from_json,
    moments_to_json,
    run_from_json,
    run_to_csv,
    run_to_json,
)
from carina.model.job import SIGNAL_STATISTICS, Moments

CT_A = Moments("CT", 12, Decimal("17.25"), Decimal("40.5"))
CT_B = Moments("CT", 30, Decimal("-3.333333333333333333333333333333333"), Decimal("1E-7"))
MR_B = Moments("MR", 1, Decimal("2E+1"), Decimal(0))
JOB = Job(
    id="j1",
    node="n-a",
    node_title="Santa Aurelia",
    node_online=True,
    dataset="urn:uuid:a",
    dataset_title="Lung CT",
    permit="p1",
    state="done",
    reason="",
    percent=100,
    since="2026-01-02T03:04:05.678901Z",
    groups=(CT_A,),
    threshold=10,
    version="live",
)
OTHER = replace(JOB, id="j2", node="n-b", node_title="Waterland", dataset_title="Breast MR", groups=(CT_B, MR_B))
SILENT = replace(
    JOB, id="j3", node="n-c", node_title="Banksia", node_online=False, state="waiting", groups=(), threshold=None,
    version=None, percent=0,
)  # fmt: skip
RUN = Run(
    id="r1",
    account="rosa",
    title="A first look",
    analysis="signal-statistics",
    created_at="2026-01-02T03:04:05.678901Z",
    cancelled_at=None,
    jobs=(JOB, OTHER, SILENT),
    pooled=(
        Pooled(computing.pool([CT_A, CT_B]), ("Santa Aurelia", "Waterland"), ()),
        Pooled(MR_B, ("Waterland",), ("Santa Aurelia",)),
    ),
)


def rows(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run_to_csv(run), newline="")))


def test_a_run_is_read_back_from_its_json_as_it_was() -> None:
    read = run_from_json(json.loads(json.dumps(run_to_json(RUN))))
    assert replace(read, jobs=(), pooled=()) == replace(RUN, jobs=(), pooled=())
    assert [replace(job, groups=()) for job in read.jobs] == [replace(job, groups=()) for job in RUN.jobs]
    assert [(item.released, item.withheld) for item in read.pooled] == [
        (item.released, item.withheld) for item in RUN.pooled
    ]
    for was, came in zip(RUN.pooled, read.pooled, strict=True):
        assert (came.moments.group, came.moments.n) == (was.moments.group, was.moments.n)
        assert float(came.moments.mean) == float(was.moments.mean)
        assert float(came.moments.m2) == float(was.moments.m2)


def test_json_has_doubles_and_the_sample_standard_deviation() -> None:
    [job, *_] = run_to_json(RUN)["jobs"]
    [group] = job["groups"]
    assert group == {
        "group": "CT",
        "n": 12,
        "mean": 17.25,
        "standard_deviation": pytest.approx((40.5 / 11) ** 0.5, rel=1e-15),
        "m2": 40.5,
    }
    assert run_to_json(RUN)["pooled"][1]["standard_deviation"] is None  # of one value


def test_the_table_has_a_row_for_each_node_and_group_and_then_the_pooled_ones() -> None:
    table = rows(RUN)
    assert tuple(table[0]) == COLUMNS
    assert [(row["group"], row["node"], row["dataset"], row["state"], row["n"]) for row in table] == [
        ("CT", "Santa Aurelia", "Lung CT", "done", "12"),
        ("MR", "Santa Aurelia", "Lung CT", "not released", ""),
        ("CT", "Waterland", "Breast MR", "done", "30"),
        ("MR", "Waterland", "Breast MR", "done", "1"),
        ("CT", "Banksia", "Lung CT", "waiting", ""),
        ("MR", "Banksia", "Lung CT", "waiting", ""),
        ("CT", POOLED, "", "pooled", "42"),
        ("MR", POOLED, "", "pooled", "1"),
    ]
    assert table[2]["mean"] == "-3.3333333333333335"
    assert table[2]["m2"] == "1e-07"
    assert (table[3]["mean"], table[3]["standard deviation"]) == ("20.0", "")


def test_the_table_ends_each_line_as_rfc_4180_says() -> None:
    text = run_to_csv(RUN)
    assert text.count("\r\n") == text.count("\n") == 9


@pytest.mark.parametrize(
    "title",
    ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1", "\ufeff=1"],
)
def test_no_text_of_others_begins_a_formula(title: str) -> None:
    job = replace(JOB, node_title=title, dataset_title=title, groups=(replace(CT_A, group=title),))
    [row] = rows(replace(RUN, jobs=(job,), pooled=()))
    for name in ("group", "node", "dataset"):
        assert row[name] == f"'{title}"


def test_numbers_stay_numbers_also_below_zero() -> None:
    assert float(rows(RUN)[2]["mean"]) < 0


def test_text_with_commas_quotes_and_lines_stays_in_its_cell() -> None:
    title = 'Lung, "early"\nstage'
    [row] = rows(replace(RUN, jobs=(replace(JOB, dataset_title=title),), pooled=()))
    assert row["dataset"] == title


def test_a_run_without_numbers_names_its_nodes_and_why() -> None:
    refused = replace(SILENT, state="refused", reason="revoked")
    table = rows(replace(RUN, jobs=(SILENT, refused), pooled=()))
    assert [(row["group"], row["node"], row["state"], row["n"]) for row in table] == [
        ("", "Banksia", "waiting", ""),
        ("", "Banksia", "refused: revoked", ""),
    ]


def test_a_run_has_ended_when_every_job_has() -> None:
    assert not RUN.ended
    assert replace(RUN, jobs=(JOB, replace(SILENT, state="refused", reason="revoked"))).ended


@pytest.mark.parametrize("number", ["NaN", "Infinity", "", "twelve", None, []])
def test_what_is_no_number_is_no_result(number: object) -> None:
    with pytest.raises(ValueError):
        moments_from_json({**moments_to_json(CT_A), "mean": number})


@pytest.mark.parametrize("value", [{}, [], None, 5, {**run_to_json(RUN), "jobs": [{}]}])
def test_another_shape_is_an_ordinary_error(value: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        run_from_json(value)  # type: ignore[arg-type]


def test_an_analysis_is_read_back() -> None:
    assert analysis_from_json(json.loads(json.dumps(analysis_to_json(SIGNAL_STATISTICS)))) == SIGNAL_STATISTICS
