"""Bars, and the picture of the federation."""

from __future__ import annotations

from carina.interfaces.web.charts import chart, charts, share, sky
from carina.model.dataset import Group


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
