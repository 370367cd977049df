"""What may leave a node: sums over distinct patients at or above its threshold, and nothing that gives away another.

What this does not prevent: working out a small group from the difference of two queries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from carina.model.dataset import Group
from carina.model.job import Moments
from carina.model.search import Counts


def release(patients: int, studies: int, threshold: int) -> Counts:
    """The counts as they may leave: below `threshold` distinct patients, zero included, both are None.

    >>> release(9, 30, 10)
    Counts(patients=None, studies=None, threshold=10)
    """
    if patients < threshold:
        return Counts(None, None, threshold)
    return Counts(patients, studies, threshold)


def hide_small(
    groups: Mapping[str, int], total: int, threshold: int, hidden: Collection[str] = ()
) -> tuple[Group, ...]:
    """The groups of one variable beside a shown `total`, largest first, then by name; hidden ones are left out.

    groups      distinct patients by value
    total       distinct patients in all; below `threshold` no group is shown
    threshold   smaller groups are hidden, and then the next larger ones, equal ones together, until no hidden one can
                be worked out by taking the shown ones from the total (complementary suppression)
    hidden      values that are hidden whatever their size, since they are elsewhere

    A hidden group is not even named: that a value occurs says something of the few who have it. Patients without any
    value count as one more group.
    """
    if total < threshold:
        return ()
    occurring = {value: count for value, count in groups.items() if count > 0}
    hidden = {value for value, count in occurring.items() if count < threshold or value in hidden}
    while not _safe(occurring, hidden, total, threshold):
        shown = [count for value, count in occurring.items() if value not in hidden]
        if not shown:
            return ()
        hidden |= {value for value, count in occurring.items() if count == min(shown)}
    shown_values = sorted(occurring.keys() - hidden, key=lambda value: (-occurring[value], value))
    return tuple(Group(value, occurring[value]) for value in shown_values)


def release_moments(
    groups: Iterable[Moments], patients: Mapping[str, int], total: int, threshold: int
) -> tuple[Moments, ...]:
    """Those moments that may leave beside the dataset's description, by group; a withheld one is not even named.

    groups      each of one value per patient
    patients    distinct patients of the dataset by group, with a value or without one
    total       distinct patients of the dataset

    What `hide_small` hides of the dataset's own groups is hidden here, so that an analysis does not tell what the
    description keeps back. Of the rest, what it hides once the numbers of values stand in the place of those of
    patients is hidden too: patients of whom no value came count as one more group.
    """
    given = {group.group: group for group in groups}
    described = {shown.value for shown in hide_small(patients, total, threshold)}
    numbers = {**patients, **{name: group.n for name, group in given.items()}}
    shown = {group.value for group in hide_small(numbers, total, threshold, hidden=numbers.keys() - described)}
    return tuple(given[name] for name in sorted(given.keys() & shown))


def at_least(groups: Iterable[Moments], threshold: int) -> tuple[Moments, ...]:
    """Those of what was released that are of `threshold` patients or more, by group: for a reader with a higher one."""
    return tuple(sorted((group for group in groups if group.n >= threshold), key=lambda group: group.group))


def _safe(groups: Mapping[str, int], hidden: set[str], total: int, threshold: int) -> bool:
    """Whether the rest that subtraction leaves says nothing exact of any hidden group.

    Of `parts` hidden groups with the sum `rest`, one is known when it is alone, when all are 1, or when all are one
    below the threshold; and a rest below the threshold is itself a small group.
    """
    rest = total - sum(count for value, count in groups.items() if value not in hidden)
    parts = len(hidden) + (total > sum(groups.values()))
    if parts == 0 or rest <= 0:
        return True
    if not hidden:  # those without a value, and enough of them
        return rest >= threshold
    return parts > 1 and rest >= threshold and rest > parts and rest != parts * (threshold - 1)
