"""What pages say."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

import pytest

from carina.interfaces.web import words
from carina.model.clock import now, stamp
from carina.model.cohort import from_pairs
from carina.model.ids import NodeId
from carina.model.job import Failure
from carina.model.permit import Denial
from carina.model.search import Counts, NodeAnswer
from carina.model.variables import RANGES


def test_a_hidden_number_reads_fewer_than_the_threshold() -> None:
    assert words.at_least(None, 10) == "fewer than 10"
    assert words.at_least(None, 25) == "fewer than 25"
    assert words.at_least(12345, 10) == "12\u202f345"


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("age", "40-60")], ["Age at the study: 40 to 60 years"]),
        ([("age", "60-")], ["Age at the study: 60 years and over"]),
        ([("age", "-17")], ["Age at the study: up to 17 years"]),
        ([("age", "50")], ["Age at the study: 50 years"]),
        ([("sex", "F"), ("sex", "M")], ["Sex: Female or Male"]),
        ([("diagnosis", "C34")], ["Diagnosis: Bronchus and lung (C34)"]),
        ([], []),
    ],
)
def test_terms_of_a_query_are_said_in_words(pairs: list[tuple[str, str]], said: list[str]) -> None:
    assert words.terms_of(from_pairs(pairs, RANGES)) == said


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(minutes=1, seconds=5), "1 minute ago"),
        (timedelta(hours=3), "3 hours ago"),
        (timedelta(days=2, hours=5), "2 days ago"),
    ],
)
def test_times_are_told_by_how_long_ago_they_are(passed: timedelta, said: str) -> None:
    assert words.ago(stamp(now() - passed)) == said


def test_an_answer_below_the_threshold_says_that_none_is_possible_too() -> None:
    answer = NodeAnswer(NodeId("n-a"), "A", "ES", "below-threshold", Counts(None, None, 10))
    assert words.answer_note(answer) == "Fewer than 10 patients match, or none."


def test_a_node_that_lacks_terms_names_them_and_counts_nothing() -> None:
    answer = NodeAnswer(NodeId("n-a"), "A", "ES", "unknown-terms", unknown=("pirads",))
    assert "pirads" in words.answer_note(answer)
    assert "Nothing was counted" in words.answer_note(answer)


def test_sizes_are_in_powers_of_a_thousand() -> None:
    assert [words.size(number) for number in (0, 900, 3300, 2_500_000)] == ["0 B", "900 B", "3.3 kB", "2.5 MB"]


def test_unknown_values_and_countries_are_shown_as_they_are() -> None:
    assert words.value_label("modality", "XX") == "XX"
    assert words.country("QX") == "QX"
    assert words.country("ES") == "Spain"


def test_of_a_mean_and_its_spread_both_have_the_decimals_of_the_larger() -> None:
    assert (words.decimal(18.351, 4.2), words.decimal(4.2, 18.351)) == ("18.35", "4.20")
    assert words.decimal(0.0042134) == "0.004213"
    assert words.decimal(-1234.5) == "\u22121\u202f234"
    assert words.decimal(0.0) == "0"
    assert words.decimal(1.5e-12) == "1.500e\u221212"


def test_a_granted_item_is_said_to_be_as_its_permit_stands() -> None:
    assert words.item_word("refused", None) == ("Refused", "bad")
    assert words.item_word("granted", "in force") == ("Granted", "good")
    assert words.item_word("granted", "waits for the node") == ("Granted, not yet in force", "info")
    assert words.item_word("granted", "expired") == ("Expired", "")


def test_every_reason_for_which_a_job_can_have_no_result_has_a_sentence() -> None:
    for reason in (*get_args(Denial), *get_args(Failure)):
        assert words.JOB_REASONS[reason].endswith(".")
    assert words.job_reason("something-new") == "Something new."
    assert words.job_reason("") == ""


def test_actions_days_and_states_are_said_in_words() -> None:
    assert words.action_words(["analyse", "view"]) == "Look at images, run analyses"
    assert words.day("2027-03-01") == "1 March 2027"
    assert words.day("soon") == "soon"
    assert words.lasting(stamp()) == "since just now"
    assert words.version_label("3") == "Snapshot 3"
