"""The researcher's commands against a hub's API on a real port."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from carina.cli.research import commands, dataset_row, datasets, login, logout, search
from carina.errors import BadInput, InvalidQuery, SignInFailed
from carina.interfaces.client.tokens import last_hub, saved_token
from carina.model.cohort import All, Between, OneOf
from carina.model.dataset import DatasetDescription
from carina.model.ids import DatasetIri, NodeId, ProjectId
from carina.model.variables import VARIABLES

PASSWORD = "correct horse battery"


def run(command: Any, *arguments: str, **more: Any) -> Result:
    """The command's result; what it raises is raised here."""
    return CliRunner().invoke(command, arguments, catch_exceptions=False, **more)


@pytest.fixture
def signed_in(hub_url: str) -> str:
    assert run(login, hub_url, "--account", "rosa", input=f"{PASSWORD}\n").exit_code == 0
    return hub_url


def test_login_keeps_a_token_and_shows_neither_it_nor_the_password(hub_url: str) -> None:
    result = run(login, f"{hub_url}/some/page", "--account", "rosa", input=f"{PASSWORD}\n")
    token = saved_token(hub_url)
    assert token and token not in result.output
    assert PASSWORD not in result.output
    assert "Signed in to Test hub as rosa." in result.output
    assert last_hub() == hub_url


def test_the_password_may_come_from_the_environment(hub_url: str) -> None:
    run(login, hub_url, "--account", "rosa", env={"CARINA_PASSWORD": PASSWORD})
    assert saved_token(hub_url)


def test_a_wrong_password_keeps_no_token(hub_url: str) -> None:
    with pytest.raises(SignInFailed):
        run(login, hub_url, "--account", "rosa", input="wrong password\n")
    assert saved_token(hub_url) is None


def test_logout_ends_the_session_and_forgets_the_token(signed_in: str) -> None:
    assert run(logout).output == "Signed out.\n"
    assert saved_token(signed_in) is None
    assert run(logout).output == "No token of this hub is kept.\n"


def test_search_prints_each_node_and_what_the_total_leaves_out(signed_in: str, answers: Any) -> None:
    result = run(search, "--modality", "CT", "--modality", "MR", "--age", "-60")
    assert answers.asked == [All((OneOf("modality", ("CT", "MR")), Between("age", None, 60)))]
    lines = [line.split() for line in result.output.splitlines()]
    assert lines[0] == ["Node", "Country", "Patients", "Studies", "Note"]
    assert lines[1] == ["Navarra", "ES", "fewer", "than", "10", "not", "shown"]
    assert lines[2] == ["Sydney", "AU", "–", "–", "did", "not", "answer", "in", "time"]
    assert lines[3] == ["Utrecht", "NL", "1,057", "1,180"]
    total = "Total: 1,057 patients, 1,180 studies of 1 node, and 1 node below the threshold; 1 silent."
    assert result.output.splitlines()[-1] == total


def test_search_prints_json_for_programs(signed_in: str) -> None:
    found = json.loads(run(search, "--sex", "F", "--json").output)
    assert found["query"] == {"all": [{"one_of": {"variable": "sex", "values": ["F"]}}]}
    assert len(found["answers"]) == 3
    assert found["total"]["patients"] == 1057


def test_search_names_unknown_terms(signed_in: str) -> None:
    with pytest.raises(InvalidQuery, match="body_part=KNEECAP"):
        run(search, "--body-part", "KNEECAP")


def test_every_variable_has_its_option_and_its_values_in_the_help() -> None:
    text = " ".join(run(search, "--help").output.split())
    for variable in VARIABLES:
        assert f"--{variable.name.replace('_', '-')}" in text
        assert all(value in text for value, _ in variable.values)


def test_datasets_are_listed_by_table_and_by_json(hub_url: str) -> None:
    assert run(datasets, hub_url).output.splitlines()[-1] == "0 datasets."
    assert json.loads(run(datasets, "--json", env={"CARINA_HUB": hub_url}).output) == []


@pytest.mark.parametrize("command", [logout, datasets, search])
def test_without_a_hub_a_command_says_how_to_name_one(command: Any) -> None:
    with pytest.raises(BadInput) as refused:
        run(command)
    assert "URL" in refused.value.hint


def test_every_command_has_help() -> None:
    assert [command.name for command in commands] == ["login", "logout", "datasets", "search"]
    assert all(command.help for command in commands)


def test_of_a_small_dataset_only_the_patients_are_said_to_be_few() -> None:
    """Fewer than ten patients may well have more than ten studies."""
    small = DatasetDescription(
        iri=DatasetIri("urn:uuid:00000000-0000-4000-8000-000000000001"),
        node=NodeId("n-a"),
        project=ProjectId("lung"),
        title="Lung",
        description="",
        institution="Hospital",
        country="ES",
        threshold=10,
        patients=None,
        studies=None,
        series=None,
        instances=None,
        groups={},
        digest="d",
        computed="2026-01-02T03:04:05.678901Z",
    )
    assert dataset_row(small)[3:5] == ("fewer than 10", "not shown")
