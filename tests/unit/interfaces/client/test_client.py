"""The researcher's client against a hub's API on a real port."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

import carina
from carina.errors import BadInput, BadSettings, NotAllowed, Unreachable
from carina.hub.centre import Hub
from carina.interfaces.client.result import total_line
from carina.interfaces.client.tokens import save_token, tokens_file
from carina.model.cohort import All, AnyOf, Between, OneOf, Query
from carina.model.search import Total, total
from carina.model.variables import VARIABLES

PASSWORD = "correct horse battery"
Serve = Callable[[ASGIApp], AbstractContextManager[int]]


@pytest.fixture
def client(hub_url: str) -> Any:
    with carina.connect(hub_url, account="rosa", password=PASSWORD) as client:
        yield client


def test_the_catalogue_and_the_terms_are_open_to_everyone(hub_url: str) -> None:
    with carina.connect(hub_url) as client:
        assert client.datasets() == []
        assert tuple(client.variables()) == VARIABLES
        with pytest.raises(carina.NotFound):
            client.dataset("urn:uuid:none")


def test_a_search_gives_each_nodes_counts_by_name(client: carina.Client, answers: Any) -> None:
    result = client.search(modality="CT", body_part=["CHEST", "LUNG"], age=(40, 60))
    assert answers.asked == [
        All((OneOf("modality", ("CT",)), OneOf("body_part", ("CHEST", "LUNG")), Between("age", 40, 60)))
    ]
    assert [answer.title for answer in result.answers] == ["Navarra", "Sydney", "Utrecht"]
    assert set(result.answers) == set(answers.given)
    assert result.total == total(answers.given)


def test_a_search_can_be_followed_as_answers_come(client: carina.Client, answers: Any) -> None:
    assert list(client.search_iter(sex="F")) == answers.given


def test_a_result_reads_as_a_table_with_what_is_missing(client: carina.Client) -> None:
    text = repr(client.search())
    assert text.splitlines() == [
        "Node     Country  Patients       Studies",
        "Navarra  ES       fewer than 10  not shown",
        "Sydney   AU       –              –          did not answer in time",
        "Utrecht  NL       1,057          1,180",
        "Total: 1,057 patients, 1,180 studies of 1 node, and 1 node below the threshold; 1 silent.",
    ]


def test_a_result_in_a_notebook_is_a_table_without_markup_from_outside(client: carina.Client, answers: Any) -> None:
    answers.given = [type(answers.given[0])("n-x", "<script>", "ES", "unknown-terms", unknown=("<b>",))]
    html = client.search()._repr_html_()
    assert "<script>" not in html and "<b>" not in html
    assert "<td>does not know &lt;b&gt;</td>" in html


@pytest.mark.parametrize(
    ("terms", "query"),
    [
        ({"age": 50}, Between("age", 50, 50)),
        ({"age": "40-"}, Between("age", 40, None)),
        ({"age": (None, 60)}, Between("age", None, 60)),
        ({"modality": ("CT", "MR")}, OneOf("modality", ("CT", "MR"))),
    ],
)
def test_a_term_may_be_written_in_several_ways(
    client: carina.Client, answers: Any, terms: dict[str, Any], query: Query
) -> None:
    client.search(**terms)
    assert answers.asked == [All((query,))]


@pytest.mark.parametrize(
    "terms",
    [
        {"modality": ""},
        {"modality": []},
        {"modality": None},
        {"age": (1, 2, 3)},
        {"age": "old"},
        {"age": True},
        {"sex": [1]},
        {"age": (60, 40)},
        {"sex": ""},
    ],
)
def test_a_term_that_means_nothing_is_refused_before_anyone_is_asked(
    client: carina.Client, answers: Any, terms: dict[str, Any]
) -> None:
    with pytest.raises(carina.InvalidQuery):
        client.search(**terms)
    assert answers.asked == []


def test_a_query_is_given_whole_or_in_terms_but_fits_into_an_address(client: carina.Client, answers: Any) -> None:
    client.search(All((OneOf("sex", ("F",)),)))
    assert answers.asked == [All((OneOf("sex", ("F",)),))]
    with pytest.raises(carina.InvalidQuery):
        client.search(All(()), sex="F")
    with pytest.raises(carina.InvalidQuery):
        client.search(AnyOf((OneOf("sex", ("F",)), OneOf("modality", ("CT",)))))


def test_unknown_terms_are_named(client: carina.Client) -> None:
    with pytest.raises(carina.InvalidQuery) as refused:
        client.search(modality="XYZ", pirads=["5"])
    assert "modality=XYZ" in refused.value.message
    assert "pirads" in refused.value.message


def test_without_a_sign_in_a_search_says_how_to_sign_in(hub_url: str) -> None:
    with carina.connect(hub_url) as client, pytest.raises(carina.NotSignedIn) as refused:
        client.search(sex="F")
    assert "carina login" in refused.value.hint


def test_a_wrong_password_is_said_and_after_five_one_must_wait(hub_url: str) -> None:
    for _ in range(5):
        with pytest.raises(carina.SignInFailed):
            carina.connect(hub_url, account="rosa", password="wrong password")
    with pytest.raises(carina.TooMany):
        carina.connect(hub_url, account="rosa", password=PASSWORD)


def test_an_account_without_its_password_or_with_a_token_is_refused(hub_url: str) -> None:
    with pytest.raises(carina.SignInFailed):
        carina.connect(hub_url, account="rosa")
    with pytest.raises(BadInput):
        carina.connect(hub_url, account="rosa", password=PASSWORD, token="x")


def test_after_sign_out_the_token_is_worth_nothing(hub_url: str, client: carina.Client) -> None:
    token = client.token
    client.sign_out()
    assert client.token is None
    client.sign_out()
    with carina.connect(hub_url, token=token) as again, pytest.raises(carina.NotSignedIn):
        again.search()


def test_the_token_comes_from_the_argument_then_the_environment_then_the_saved_one(
    hub_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(**given: str) -> str | None:
        with carina.connect(hub_url, **given) as client:
            return client.token

    assert used() is None
    save_token(hub_url, "saved")
    assert used() == "saved"
    monkeypatch.setenv("CARINA_TOKEN", "environment")
    assert used() == "environment"
    assert used(token="argument") == "argument"


def test_saved_tokens_are_for_their_owner_only(own_config: Path) -> None:
    save_token("http://hub.localhost:1", "secret")
    assert tokens_file() == own_config / "tokens.json"
    assert tokens_file().stat().st_mode & 0o777 == 0o600
    assert own_config.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in own_config.iterdir()] == ["tokens.json"]


def test_a_damaged_file_of_tokens_is_named(own_config: Path) -> None:
    own_config.mkdir()
    (own_config / "tokens.json").write_text("[]")
    with pytest.raises(BadSettings) as refused:
        carina.connect("http://localhost:1")
    assert "tokens.json" in refused.value.message


def test_nothing_at_the_address_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="cannot be reached"):
            carina.connect(f"http://hub.localhost:{free.getsockname()[1]}")


@pytest.mark.parametrize("url", ["", "hub.example.org", "ftp://hub.example.org", "http://", "http://[::1", "hub:80"])
def test_what_is_no_address_is_said_to_be_none(url: str) -> None:
    with pytest.raises(BadInput, match="no address"):
        carina.connect(url)


async def page(request: Request) -> Response:
    return HTMLResponse("<h1>Another site</h1>")


async def other_service(request: Request) -> Response:
    return JSONResponse({"id": "x", "type": {"artifact": "beacon"}})


async def array(request: Request) -> Response:
    return JSONResponse([1, 2])


async def moved(request: Request) -> Response:
    return RedirectResponse("https://elsewhere.example/api")


async def failing(request: Request) -> Response:
    return HTMLResponse("<h1>Bad gateway</h1>", 502)


async def odd_problem(request: Request) -> Response:
    return JSONResponse([], 500, media_type="application/problem+json")


def test_a_token_is_shown_to_nobody_who_is_no_hub(serve: Serve) -> None:
    seen = []

    async def thief(request: Request) -> Response:
        seen.append(request.headers.get("authorization"))
        return JSONResponse({})

    with serve(Starlette(routes=[Route("/api", thief)])) as port, pytest.raises(Unreachable):
        carina.connect(f"http://127.0.0.1:{port}", token="secret")
    assert seen == [None]


@pytest.mark.parametrize("answer", [page, other_service, array, moved, failing, odd_problem, None])
def test_what_is_no_carina_hub_is_said_to_be_none(serve: Serve, answer: Any) -> None:
    app = Starlette(routes=[Route("/api", answer)] if answer else [])
    with serve(app) as port, pytest.raises(Unreachable, match="no Carina hub"):
        carina.connect(f"http://127.0.0.1:{port}", token="secret")


def test_a_search_that_breaks_off_is_no_result(serve: Serve, answers: Any, hub_app: Callable[[], Starlette]) -> None:
    async def search(request: Request) -> Response:
        async def some() -> Any:
            yield "event: answer\n"

        return StreamingResponse(some(), media_type="text/event-stream")

    app = hub_app()
    app.router.routes.insert(0, Route("/api/search", search))
    with serve(app) as port, carina.connect(f"http://127.0.0.1:{port}") as client:  # noqa: SIM117
        with pytest.raises(Unreachable, match="broke the search off"):
            client.search()


def test_a_failure_on_the_hubs_side_amid_a_search_is_raised(client: carina.Client, answers: Any) -> None:
    answers.error = Unreachable("The broker is away.")
    followed = client.search_iter()
    assert [next(followed) for _ in answers.given] == answers.given
    with pytest.raises(Unreachable, match="The broker is away"):
        next(followed)


def test_secrets_are_not_sent_over_plain_http_to_another_machine() -> None:
    with pytest.raises(NotAllowed, match="plain HTTP"):
        carina.connect("http://192.0.2.1", token="secret")
    with pytest.raises(NotAllowed, match="plain HTTP"):
        carina.connect("http://192.0.2.1", account="rosa", password=PASSWORD)


def test_proxies_of_the_environment_do_not_see_loopback(hub_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with carina.connect(hub_url) as client:
        assert client.datasets() == []


def test_the_hub_sees_the_name_that_was_asked_for(serve: Serve) -> None:
    hosts = []

    async def info(request: Request) -> Response:
        hosts.append(request.headers["host"])
        return JSONResponse({"type": {"artifact": "carina-hub"}})

    with serve(Starlette(routes=[Route("/api", info)])) as port:
        carina.connect(f"http://some.hub.localhost:{port}/").close()
    assert hosts == [f"some.hub.localhost:{port}"]


def test_a_client_shows_its_hub_but_not_its_token(client: carina.Client, hub: Hub) -> None:
    assert client.token and client.token not in repr(client)
    assert client.url in repr(client)
    assert client.info()["id"] == hub.id


def test_the_client_needs_the_light_base_install_only() -> None:
    program = (
        "import sys, carina; carina.connect; import carina.cli.research\n"
        "allowed = {'carina', 'click', 'httpx2', 'rich'}\n"
        "print(sorted({'starlette', 'pydantic', 'sqlalchemy', 'jinja2', 'cryptography', 'numpy', 'pydicom', 'uvicorn'}"
        " & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_carina_does_not_import_the_client_yet() -> None:
    program = "import sys, carina.errors; print('httpx2' in sys.modules, carina.__version__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", carina.__version__]
    with pytest.raises(AttributeError):
        carina.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (
            (57, 80, 2, 1, 0, 0, 1),
            "Total: 57 patients, 80 studies of 2 nodes, and 1 node below the threshold; 1 silent.",
        ),
        ((0, 0, 0, 3, 0, 0, 0), "No number to show: 3 nodes below the threshold."),
        ((0, 0, 0, 1, 0, 1, 0), "No number to show: 1 node below the threshold; 1 refused."),
        ((0, 0, 0, 0, 0, 0, 2), "No node gave a number; 2 silent."),
    ],
)
def test_where_no_node_gave_a_number_the_total_is_none_and_not_zero(numbers: tuple[int, ...], said: str) -> None:
    assert total_line(Total(*numbers)) == said
