"""No hidden count can be worked out, by one who knows the total, the shown groups and how the hiding is done."""

from collections import defaultdict
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carina.federation.disclosure import hide_small, release

groups = st.dictionaries(st.sampled_from("ABCDEFGH"), st.integers(1, 60), min_size=1)
thresholds = st.integers(2, 15)


@pytest.mark.parametrize("threshold", [2, 3, 4, 5])
def test_every_hidden_group_has_at_least_two_possible_sizes(threshold: int) -> None:
    """All partitions of few patients into at most four groups, so that whatever gives the same picture is known."""
    seen = defaultdict(list)
    for size in range(1, 5):
        for counts in product(range(1, 9), repeat=size):
            if sum(counts) >= threshold:
                shown = hide_small(dict(zip("ABCD", counts, strict=False)), sum(counts), threshold)
                seen[size, sum(counts), shown].append(counts)
    for (_, _, shown), possible in seen.items():
        for group in shown:
            if group.patients is None:
                assert len({counts["ABCD".index(group.value)] for counts in possible}) > 1


@settings(deadline=None)
@given(groups, thresholds)
def test_a_shown_group_is_true_and_never_small(counts: dict[str, int], threshold: int) -> None:
    for group in hide_small(counts, sum(counts.values()), threshold):
        assert group.patients is None or group.patients == counts[group.value] >= threshold


@settings(deadline=None)
@given(groups, st.integers(0, 30), thresholds)
def test_what_subtraction_leaves_is_never_one_group_nor_a_small_number(
    counts: dict[str, int], without_value: int, threshold: int
) -> None:
    total = sum(counts.values()) + without_value
    shown = hide_small(counts, total, threshold)
    hidden = [group.value for group in shown if group.patients is None]
    rest = total - sum(group.patients or 0 for group in shown)
    if hidden and len(hidden) < len(counts):
        assert len(hidden) + (without_value > 0) > 1
        assert rest >= threshold
        assert rest > len(hidden)


@settings(deadline=None)
@given(groups, thresholds)
def test_every_value_that_occurs_is_listed_once_unless_none_is(counts: dict[str, int], threshold: int) -> None:
    values = [group.value for group in hide_small(counts, sum(counts.values()), threshold)]
    assert sorted(values) == sorted(counts) or (values == [] and set(counts.values()) == {1})


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), thresholds)
def test_a_count_is_shown_whole_or_not_at_all(patients: int, studies: int, threshold: int) -> None:
    counts = release(patients, studies, threshold)
    assert (counts.patients, counts.studies) == ((patients, studies) if patients >= threshold else (None, None))
