"""No hidden count can be worked out, by one who knows the total, the shown groups and how the hiding is done."""

from collections import defaultdict
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carina.compute.moments import of
from carina.federation.disclosure import hide_small, release, release_moments

groups = st.dictionaries(st.sampled_from("ABCDEFGH"), st.integers(1, 60), min_size=1)
thresholds = st.integers(2, 15)


@pytest.mark.parametrize("threshold", [2, 3, 4, 5])
@pytest.mark.parametrize("total", [5, 9, 13])
def test_every_hidden_group_has_at_least_two_possible_sizes(total: int, threshold: int) -> None:
    """All ways that these patients can have one of three values or none, so that whatever looks the same is known.

    At most one learns of a value that nobody has it, as when all patients are in the groups that are shown.
    """
    seen = defaultdict(list)
    for counts in product(range(total + 1), repeat=3):
        if sum(counts) <= total:
            seen[hide_small(dict(zip("ABC", counts, strict=True)), total, threshold)].append(counts)
    for shown, possible in seen.items():
        named = {group.value for group in shown}
        for place, value in enumerate("ABC"):
            sizes = {counts[place] for counts in possible}
            assert value in named or len(sizes) > 1 or sizes == {0}, (shown, value)


@settings(deadline=None)
@given(groups, thresholds)
def test_a_listed_group_is_true_and_never_small(counts: dict[str, int], threshold: int) -> None:
    for group in hide_small(counts, sum(counts.values()), threshold):
        assert group.patients == counts[group.value]
        assert group.patients >= threshold


@settings(deadline=None)
@given(groups, st.integers(0, 30), thresholds)
def test_what_subtraction_leaves_is_never_one_small_group_nor_a_small_number(
    counts: dict[str, int], without_value: int, threshold: int
) -> None:
    total = sum(counts.values()) + without_value
    shown = hide_small(counts, total, threshold)
    hidden = counts.keys() - {group.value for group in shown}
    rest = total - sum(group.patients or 0 for group in shown)
    if shown and rest:
        assert rest >= threshold
        assert not hidden or len(hidden) + (without_value > 0) > 1


@settings(deadline=None)
@given(groups, st.integers(0, 30), thresholds)
def test_hiding_again_what_is_shown_hides_nothing_more(
    counts: dict[str, int], without_value: int, threshold: int
) -> None:
    total = sum(counts.values()) + without_value
    shown = hide_small(counts, total, threshold)
    assert hide_small({group.value: group.patients or 0 for group in shown}, total, threshold) == shown


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), thresholds)
def test_a_count_is_shown_whole_or_not_at_all(patients: int, studies: int, threshold: int) -> None:
    counts = release(patients, studies, threshold)
    assert (counts.patients, counts.studies) == ((patients, studies) if patients >= threshold else (None, None))


@settings(deadline=None)
@given(groups, st.data(), st.integers(0, 30), thresholds)
def test_a_result_gives_no_group_that_is_hidden_in_the_description_or_known_by_subtraction(
    patients: dict[str, int], data: st.DataObject, without_group: int, threshold: int
) -> None:
    values = {name: data.draw(st.integers(1, count), label=name) for name, count in patients.items()}
    overlap = data.draw(st.integers(0, sum(patients.values()) - max(patients.values())))
    total = sum(patients.values()) - overlap + without_group
    moments = [of(name, [1.0] * number) for name, number in values.items()]
    released = {group.group: group.n for group in release_moments(moments, patients, total, threshold)}
    assert released.keys() <= {group.value for group in hide_small(patients, total, threshold)}
    assert all(number == values[name] >= threshold for name, number in released.items())
    rest = total - sum(released.values())
    hidden = values.keys() - released.keys()
    if released and rest > 0:
        assert rest >= threshold
        assert not hidden or len(hidden) + (total > sum(values.values())) > 1


@settings(deadline=None)
@given(groups, st.integers(0, 30), st.sets(st.sampled_from("ABCDEFGH")), thresholds)
def test_with_a_value_of_every_patient_a_result_gives_what_the_description_shows(
    patients: dict[str, int], without_group: int, analysed: set[str], threshold: int
) -> None:
    total = sum(patients.values()) + without_group
    moments = [of(name, [1.0] * number) for name, number in patients.items() if name in analysed]
    described = {group.value for group in hide_small(patients, total, threshold)}
    assert {group.group for group in release_moments(moments, patients, total, threshold)} == described & analysed
