import pytest

from carina.compute.moments import of
from carina.federation.disclosure import at_least, hide_small, release, release_moments
from carina.model.dataset import Group
from carina.model.job import Moments
from carina.model.search import Counts


@pytest.mark.parametrize("patients", [0, 1, 9])
def test_below_the_threshold_zero_included_both_numbers_are_hidden(patients: int) -> None:
    assert release(patients, 30, 10) == Counts(None, None, 10)


def test_from_the_threshold_on_both_numbers_are_shown() -> None:
    assert release(10, 12, 10) == Counts(10, 12, 10)


def test_large_groups_are_listed_largest_first() -> None:
    assert hide_small({"M": 20, "F": 30}, 50, 10) == (Group("F", 30), Group("M", 20))


def test_with_one_small_group_the_next_smallest_is_hidden_too() -> None:
    assert hide_small({"A": 5, "B": 15, "C": 30}, 50, 10) == (Group("C", 30),)


def test_two_small_groups_that_sum_to_little_take_a_third_with_them() -> None:
    assert hide_small({"A": 1, "B": 2, "C": 15, "D": 32}, 50, 10) == (Group("D", 32),)


def test_groups_one_below_the_threshold_each_are_not_known_from_their_sum() -> None:
    assert hide_small({"A": 9, "B": 9, "C": 32}, 50, 10) == ()


def test_equal_groups_are_hidden_together_so_that_names_tell_nothing() -> None:
    assert hide_small({"A": 2, "B": 12, "C": 12, "D": 30}, 56, 10) == (Group("D", 30),)


def test_a_few_patients_without_a_value_cannot_be_counted_by_subtraction() -> None:
    assert hide_small({"A": 20, "B": 30}, 53, 10) == (Group("B", 30),)


def test_many_patients_without_a_value_hide_nobody_else() -> None:
    assert hide_small({"A": 20, "B": 4}, 60, 10) == hide_small({"A": 20}, 60, 10) == (Group("A", 20),)


@pytest.mark.parametrize("groups", [{"CT": 2}, {"A": 4, "B": 5}])
def test_of_a_small_total_not_even_the_values_are_named(groups: dict[str, int]) -> None:
    assert hide_small(groups, max(groups.values()), 10) == ()


def test_a_hidden_value_is_not_named_beside_shown_ones() -> None:
    assert [group.value for group in hide_small({"CT": 40, "PT": 12, "US": 1}, 40, 10)] == ["CT", "PT"]


def test_values_that_do_not_occur_are_not_listed() -> None:
    assert hide_small({"A": 0, "B": 20}, 20, 10) == (Group("B", 20),)


def test_overlapping_groups_are_hidden_by_size_alone() -> None:
    assert hide_small({"CT": 40, "PT": 30, "SEG": 3}, 50, 10) == (Group("CT", 40), Group("PT", 30))


def test_hiding_what_was_hidden_before_changes_nothing() -> None:
    once = hide_small({"A": 5, "B": 15, "C": 30, "D": 40}, 95, 10)
    assert hide_small({group.value: group.patients or 0 for group in once}, 95, 10) == once


def values(**numbers: int) -> list[Moments]:
    """Groups of so many values each."""
    return [of(name, [1.0] * number) for name, number in numbers.items()]


def names(groups: tuple[Moments, ...]) -> list[str]:
    return [group.group for group in groups]


def test_a_group_below_the_threshold_is_neither_given_nor_named() -> None:
    given = release_moments(values(MR=3, PT=2, CT=4), {"CT": 4, "MR": 3, "PT": 2}, 4, 3)
    assert given == tuple(values(CT=4, MR=3))
    assert release_moments(given, {"CT": 4, "MR": 3, "PT": 2}, 4, 5) == ()


def test_a_result_does_not_give_what_the_description_hides_beside_a_small_group() -> None:
    patients = {"CT": 5, "MR": 4, "PT": 2}
    assert hide_small(patients, 11, 3) == (Group("CT", 5),)
    assert names(release_moments(values(**patients), patients, 11, 3)) == ["CT"]


def test_nothing_is_released_of_a_dataset_whose_total_is_hidden() -> None:
    assert release_moments(values(CT=3), {"CT": 3}, 2, 3) == ()


def test_a_group_that_the_description_does_not_have_is_not_released() -> None:
    assert names(release_moments(values(CT=6, MR=6), {"CT": 12}, 20, 3)) == ["CT"]


def test_a_group_with_few_values_takes_the_next_one_with_it() -> None:
    patients = {"CT": 9, "MR": 4, "PT": 3}
    assert [group.value for group in hide_small(patients, 16, 3)] == ["CT", "MR", "PT"]
    assert names(release_moments(values(CT=9, MR=4, PT=2), patients, 16, 3)) == ["CT", "MR"]  # 3 without: 1 and 2
    assert names(release_moments(values(CT=9, MR=4, PT=2), patients, 15, 3)) == ["CT"]


def test_a_few_patients_of_whom_no_value_came_cannot_be_counted_by_subtraction() -> None:
    assert release_moments(values(CT=10), {"CT": 11}, 11, 3) == ()
    assert names(release_moments(values(CT=8), {"CT": 11}, 11, 3)) == ["CT"]


def test_many_patients_of_whom_no_value_came_hide_nothing() -> None:
    assert names(release_moments(values(CT=5, MR=5), {"CT": 5, "MR": 5, "SR": 20}, 25, 3)) == ["CT", "MR"]


def test_with_a_value_of_every_patient_a_result_gives_each_group_that_the_description_shows() -> None:
    patients = {"CT": 18, "MR": 17, "PT": 3, "SEG": 22}
    assert [group.value for group in hide_small(patients, 36, 10)] == ["SEG", "CT", "MR"]
    assert names(release_moments(values(CT=18, MR=17, PT=3), patients, 36, 10)) == ["CT", "MR"]


def test_a_reader_with_a_higher_threshold_sees_fewer_groups() -> None:
    assert at_least(values(MR=5, CT=4), 5) == tuple(values(MR=5))
