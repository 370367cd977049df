"""Bars, and the picture of the federation."""

from __future__ import annotations

from carina.interfaces.web.charts import bars, charts, share, sky
from carina.model.dataset import Group


def test_a_hidden_group_has_no_length_and_stands_last() -> None:
    made = bars("sex", (Group("O", None), Group("F", 20), Group("M", 40)), 10)
    assert [bar.label for bar in made] == ["Male", "Female", "Other"]
    assert [bar.share for bar in made] == [100.0, 50.0, None]
    assert made[2].text == "fewer than 10"


def test_ages_keep_their_own_order() -> None:
    made = bars("age", (Group("90+", None), Group("60-69", 40), Group("40-49", 90)), 10)
    assert [bar.label for bar in made] == ["40–49", "60–69", "90+"]


def test_charts_come_in_the_order_of_the_variables_and_leave_out_empty_ones() -> None:
    made = charts(
        {"diagnosis": (Group("C34", 12),), "sex": (Group("F", 12),), "age": (), "extra": (Group("x", 11),)}, 10
    )
    assert [chart.variable for chart in made] == ["sex", "diagnosis", "extra"]


def test_all_hidden_groups_make_no_division_by_zero() -> None:
    assert [bar.share for bar in bars("sex", (Group("F", None), Group("M", None)), 10)] == [None, None]
    assert share(0, 0) == 0.0


def test_every_node_lies_inside_the_picture() -> None:
    for number in (0, 1, 3, 12):
        made = sky([(f"Node {index}", True) for index in range(number)])
        left, top, width, height = (float(part) for part in made.view.split())
        assert len(made.stars) == number
        for star in made.stars:
            assert left < star.x < left + width
            assert top < star.y < top + height
