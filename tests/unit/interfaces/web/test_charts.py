"""Bars, and the picture of the federation."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from carina.interfaces.web.charts import chart, charts, dot_plot, scale, share, sky, tick_label
from carina.model.dataset import Group
from carina.model.job import Moments


def test_a_hidden_group_is_not_named() -> None:
    made = chart("sex", (Group("O", None), Group("F", 20), Group("M", 40)))
    assert [(bar.label, bar.patients, bar.share) for bar in made.bars] == [("Male", 40, 100.0), ("Female", 20, 50.0)]


def test_ages_keep_their_own_order() -> None:
    made = chart("age", (Group("90+", 12), Group("60-69", 40), Group("00-09", 90), Group("10-19", None)))
    assert [bar.label for bar in made.bars] == ["0–9", "60–69", "90+"]


def test_charts_come_in_the_order_of_the_variables_and_leave_out_empty_ones() -> None:
    groups = {
        "diagnosis": (Group("C34", 12),),
        "sex": (Group("F", 12),),
        "age": (),
        "modality": (Group("CT", None),),
        "extra": (Group("x", 11),),
    }
    assert [made.variable for made in charts(groups)] == ["sex", "diagnosis", "extra"]


def test_all_hidden_groups_make_no_division_by_zero() -> None:
    assert chart("sex", (Group("F", None), Group("M", None))).bars == ()
    assert share(0, 0) == 0.0


def test_every_node_lies_inside_the_picture() -> None:
    for number in (0, 1, 3, 12):
        made = sky([(f"Node {index}", True) for index in range(number)])
        left, top, width, height = (float(part) for part in made.view.split())
        assert len(made.stars) == number
        for star in made.stars:
            assert left < star.x < left + width
            assert top < star.y < top + height


def moments(n: int, mean: float, spread: float) -> Moments:
    return Moments("CT", n, Decimal(str(mean)), Decimal(str(spread)) ** 2 * (n - 1))


def test_every_dot_and_its_spread_lie_inside_the_plot_in_their_order() -> None:
    rows = [("A", moments(40, 18.3, 4.2)), ("B", moments(60, -2.5, 3)), ("C", moments(1, 5, 0))]
    made = dot_plot("modality", "CT", rows, moments(101, 6.3, 8))
    assert made.label == "Computed tomography (CT)"
    for dot in (*made.dots, made.pooled):
        assert 0 < dot.low <= dot.at <= dot.high < 100
    assert made.dots[1].at < made.dots[2].at < made.pooled.at < made.dots[0].at
    assert [dot.std for dot in made.dots] == ["4.20", "3.000", ""]  # a single value has no spread
    assert [tick.label for tick in made.ticks] == ["\u221210", "0", "10", "20", "30"][: len(made.ticks)]


@example(0.0, 5e-324)
@example(18.35, 0.0)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_scale_holds_its_values_with_few_marks(low: float, width: float) -> None:
    marks = scale(low, low + width)
    assert 3 <= len(marks) <= 7
    step = marks[1] - marks[0]
    assert marks[0] <= low + step / 1e6 and low + width <= marks[-1] + step / 1e6


def test_marks_have_the_decimals_of_their_step() -> None:
    assert [tick_label(mark, 0.05) for mark in (0.0, 0.05, 0.1)] == ["0.00", "0.05", "0.10"]
    assert [tick_label(mark, 500.0) for mark in (-500.0, 0.0, 1500.0)] == ["\u2212500", "0", "1\u202f500"]
