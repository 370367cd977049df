"""What every request passes before a route sees it, with a small application behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from carina.errors import BadSettings
from carina.interfaces.api.identity import Identity, MemoryAccounts
from carina.interfaces.api.security import Rules, csrf_token, middleware, networks, policy
from carina.model.principal import Principal

SERVICE = "h-" + "a" * 26
URL = "http://hub.localhost:8700"
SECURE = "https://hub.example.org"
COOKIE = f"carina-{SERVICE}"


def application(identity: Identity, rules: Rules) -> Starlette:
    """A form, a page for those signed in, and a place that takes anything."""

    async def form(request: Request) -> Response:
        return PlainTextResponse(await csrf_token(request, identity))

    async def sign_in(request: Request) -> Response:
        async with request.form() as given:
            session = await identity.sign_in(request, str(given["name"]), str(given["password"]))
        response = RedirectResponse("/", 303)
        identity.remember(response, session)
        return response

    async def sign_out(request: Request) -> Response:
        await identity.sign_out(request)
        response = PlainTextResponse("out")
        identity.forget(response)
        return response

    async def mine(request: Request) -> Response:
        who = await identity.identify(request)
        return PlainTextResponse(f"{who.subject} from {request.client.host if request.client else '-'}")

    async def take(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    async def cached(request: Request) -> Response:
        return PlainTextResponse("style", headers={"Cache-Control": "no-cache"})

    async def sends_on(request: Request) -> Response:
        own = {"Content-Security-Policy": policy("https://node.example.org"), "Referrer-Policy": "strict-origin"}
        return PlainTextResponse("form", headers=own)

    routes = [
        Route("/sends-on", sends_on),
        Route("/form", form),
        Route("/sign-in", sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
        Route("/mine", mine),
        Route("/take", take, methods=["POST"]),
        Route("/stream/take", take, methods=["POST"]),
        Route("/cached", cached),
    ]
    return Starlette(routes=routes, middleware=middleware(rules, identity))


def people() -> MemoryAccounts:
    rosa = Principal("rosa", SERVICE, frozenset({"researcher"}))
    scanner = Principal("token:scanner", SERVICE, frozenset({"sender"}))
    return MemoryAccounts({"rosa": ("right", rosa)}, {"scanner-secret": scanner})


@pytest.fixture
def browser() -> Callable[..., TestClient]:
    """A client of a listener with these rules, from this address."""

    def make(url: str = URL, *, base: str | None = None, peer: str = "127.0.0.1", **rules: Any) -> TestClient:
        listener = Rules(url, **rules)
        app = application(Identity(people(), SERVICE, listener.secure), listener)
        return TestClient(app, base_url=base or url, client=(peer, 50000), follow_redirects=False)

    return make


def sign_in(client: TestClient) -> str:
    """Sign in by the form; the session's CSRF token."""
    token = client.get("/form").text
    answer = client.post("/sign-in", data={"name": "rosa", "password": "right", "csrf": token})
    assert answer.status_code == 303, answer.text
    return client.get("/form").text


def test_a_person_signs_in_by_the_form_and_out_again(browser: Callable[..., TestClient]) -> None:
    client = browser()
    token = sign_in(client)
    assert client.get("/mine").text.startswith("rosa")
    assert client.post("/sign-out", data={"csrf": token}).text == "out"
    assert client.get("/mine").status_code == 401


def test_the_sign_in_form_without_its_token_is_refused(browser: Callable[..., TestClient]) -> None:
    client = browser()
    client.get("/form")
    for csrf in ({}, {"csrf": ""}, {"csrf": "guess"}):
        answer = client.post("/sign-in", data={"name": "rosa", "password": "right", **csrf})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_a_token_without_its_cookie_is_worth_nothing(browser: Callable[..., TestClient]) -> None:
    client = browser()
    token = client.get("/form").text
    client.cookies.clear()
    for csrf in (token, ""):  # an empty token does not equal a cookie that is not there
        answer = client.post("/sign-in", data={"name": "rosa", "password": "right", "csrf": csrf})
        assert answer.status_code == 403


def test_a_session_needs_its_own_token_and_not_the_one_from_before(browser: Callable[..., TestClient]) -> None:
    client = browser()
    before = client.get("/form").text
    after = sign_in(client)
    assert before != after
    assert client.post("/take", data={"csrf": before}).status_code == 403
    assert client.post("/take", data={"csrf": after}).status_code == 200


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", None])
def test_a_cookie_alone_changes_nothing_whatever_the_body(browser: Callable[..., TestClient], kind: str | None) -> None:
    client = browser()
    token = sign_in(client)
    headers = {"content-type": kind} if kind else {}
    assert client.post("/take", content=b"{}", headers=headers).status_code == 403
    assert client.post("/take", content=b"{}", headers={**headers, "X-CSRF-Token": token}).status_code == 200


def test_the_route_gets_the_form_that_the_check_has_read(browser: Callable[..., TestClient]) -> None:
    client = browser()
    token = sign_in(client)
    body = f"csrf={token}&text=" + "x" * 5000
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/take", content=body, headers=form).text == str(len(body))
    upload = client.post("/take", data={"csrf": token}, files={"table": ("t.csv", b"a,b\n" * 100)})
    assert upload.status_code == 200
    assert int(upload.text) > 400


def test_a_form_that_cannot_be_read_is_a_problem(browser: Callable[..., TestClient]) -> None:
    client = browser()
    sign_in(client)
    answer = client.post("/take", content=b"--x", headers={"content-type": "multipart/form-data"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_bearer_token_needs_no_form_token_and_hides_the_cookie(browser: Callable[..., TestClient]) -> None:
    client = browser()
    sign_in(client)
    scanner = {"Authorization": "Bearer scanner-secret"}
    assert client.post("/take", content=b"abc", headers=scanner).text == "3"
    assert client.get("/mine", headers=scanner).text.startswith("token:scanner")
    for wrong in ("Bearer nonsense", "Basic cm9zYTpyaWdodA==", "Bearer"):
        assert client.get("/mine", headers={"Authorization": wrong}).status_code == 401


def test_an_authorization_that_is_no_bearer_token_does_not_excuse_a_form(browser: Callable[..., TestClient]) -> None:
    client = browser()
    sign_in(client)
    answer = client.post("/take", content=b"abc", headers={"Authorization": "Basic cm9zYTpyaWdodA=="})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://hub.localhost:9999"},
        {"Origin": "https://hub.localhost:8700"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_foreign_origin_is_refused_even_with_the_token(
    browser: Callable[..., TestClient], headers: dict[str, str]
) -> None:
    client = browser()
    token = sign_in(client)
    answer = client.post("/take", data={"csrf": token}, headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers", [{"Origin": URL}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}]
)
def test_the_own_origin_passes(browser: Callable[..., TestClient], headers: dict[str, str]) -> None:
    client = browser()
    token = sign_in(client)
    assert client.post("/take", data={"csrf": token}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("hub.localhost:8700", 200),
        ("HUB.localhost", 200),
        ("localhost:8700", 200),
        ("127.0.0.1:8700", 200),
        ("[::1]:8700", 200),
        ("one.sites.test", 200),
        ("evil.example", 400),
        ("hub.localhost.evil.example", 400),
        ("hub.localhost:8700; script-src *", 400),
        ("evil.example@hub.localhost", 400),
        ("evilsites.test", 400),
        ("[::1", 400),
        ("", 400),
    ],
)
def test_only_the_services_own_names_are_answered(browser: Callable[..., TestClient], host: str, status: int) -> None:
    client = browser(hosts=("*.sites.test",))
    assert client.get("/form", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "unknown"])
def test_plain_http_from_another_machine_is_refused_in_a_sentence(
    browser: Callable[..., TestClient], peer: str
) -> None:
    answer = browser("http://hub.example.org", peer=peer).get("/form")
    assert answer.status_code == 403
    assert "Plain HTTP" in answer.json()["detail"]
    assert "trusted_proxies" in answer.json()["hint"]


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_plain_http_on_this_machine_is_answered(browser: Callable[..., TestClient], peer: str) -> None:
    assert browser(peer=peer).get("/form").status_code == 200


@pytest.mark.parametrize(
    ("hops", "asks"),
    [
        ("198.51.100.9, 192.0.2.7, 10.9.9.9", "192.0.2.7"),
        ("192.0.2.7:41000", "192.0.2.7"),
        ("[2001:db8::1]:41000, 10.9.9.9:80", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_a_trusted_proxy_says_who_asks_and_that_it_was_https(
    browser: Callable[..., TestClient], hops: str, asks: str
) -> None:
    client = browser(SECURE, base="http://hub.example.org", peer="10.1.2.3", trusted_proxies=networks(["10.0.0.0/8"]))
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": hops}
    told["Authorization"] = "Bearer scanner-secret"
    assert client.get("/mine", headers=told).text == f"token:scanner from {asks}"


def test_what_anyone_else_says_of_itself_is_ignored(browser: Callable[..., TestClient]) -> None:
    client = browser(SECURE, base="http://hub.example.org", peer="192.0.2.7", trusted_proxies=networks(["10.0.0.0/8"]))
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"}
    assert client.get("/form", headers=told).status_code == 403


def test_a_proxy_that_took_plain_http_from_afar_is_refused(browser: Callable[..., TestClient]) -> None:
    client = browser(SECURE, base="http://hub.example.org", trusted_proxies=networks(["127.0.0.1"]))
    for protocol in ("http", "https, http", "http, https"):
        told = {"X-Forwarded-Proto": protocol, "X-Forwarded-For": "192.0.2.7"}
        assert client.get("/form", headers=told).status_code == 403


def test_a_proxy_setting_that_is_no_address_stops_the_start() -> None:
    with pytest.raises(BadSettings):
        networks(["proxy.example.org"])


def test_cookies_belong_to_one_host_and_carry_the_services_id(browser: Callable[..., TestClient]) -> None:
    client = browser()
    form = client.get("/form")
    assert re.fullmatch(rf"{COOKIE}-form=[\w-]{{43}}; Path=/; HttpOnly; SameSite=Lax", form.headers["set-cookie"])
    answer = client.post("/sign-in", data={"name": "rosa", "password": "right", "csrf": form.text})
    session, gone = answer.headers.get_list("set-cookie")
    parts = session.lower().split("; ")
    assert parts[0].startswith(f"{COOKIE}=")
    assert set(parts[1:]) == {"path=/", "httponly", "samesite=lax"}
    assert gone.startswith(f'{COOKIE}-form="";')


def test_behind_https_cookies_are_secure_and_have_the_host_prefix(browser: Callable[..., TestClient]) -> None:
    client = browser(SECURE)
    form = client.get("/form")
    assert form.headers["set-cookie"].startswith(f"__Host-{COOKIE}-form=")
    assert form.headers["set-cookie"].endswith("; Secure")
    answer = client.post("/sign-in", data={"name": "rosa", "password": "right", "csrf": form.text})
    session = answer.headers.get_list("set-cookie")[0].lower()
    assert session.startswith(f"__host-{COOKIE}=")
    assert {"secure", "httponly", "path=/", "samesite=lax"} <= set(session.split("; "))
    assert "domain" not in session


def test_every_answer_tells_the_browser_what_it_may_do(browser: Callable[..., TestClient]) -> None:
    client = browser()
    refused = client.get("/form", headers={"Host": "evil.example"})
    for answer in (client.get("/form"), client.get("/mine"), client.get("/nothing"), refused):
        told = answer.headers["content-security-policy"]
        assert told.startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in told
        assert "unsafe" not in told
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in answer.headers
    assert client.get("/cached").headers["cache-control"] == "no-cache"
    assert browser(SECURE).get("/form").headers["strict-transport-security"] == "max-age=31536000"


def test_a_page_that_sends_the_browser_on_keeps_its_own_policy_and_gets_the_rest(
    browser: Callable[..., TestClient],
) -> None:
    headers = browser().get("/sends-on").headers
    assert "form-action 'self' https://node.example.org;" in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert headers["referrer-policy"] == "strict-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_a_body_that_is_too_large_is_refused_whether_announced_or_not(browser: Callable[..., TestClient]) -> None:
    client = browser(largest_body=1000)
    scanner = {"Authorization": "Bearer scanner-secret"}
    assert client.post("/take", content=b"x" * 1000, headers=scanner).status_code == 200
    announced = client.post("/take", content=b"x" * 1001, headers=scanner)
    chunked = client.post("/take", content=iter([b"x" * 600] * 2), headers=scanner)
    for answer in (announced, chunked):
        assert answer.status_code == 413
        assert answer.json()["error"] == "too-large"
    negative = client.post("/take", content=b"x", headers={**scanner, "content-length": "-1"})
    assert negative.status_code == 413


def test_a_path_may_have_another_limit_or_none(browser: Callable[..., TestClient]) -> None:
    client = browser(largest_body=1000, body_limits=(("/stream", None), ("/take", 10)))
    scanner = {"Authorization": "Bearer scanner-secret"}
    assert client.post("/stream/take", content=b"x" * 5000, headers=scanner).text == "5000"
    assert client.post("/take", content=b"x" * 11, headers=scanner).status_code == 413


def test_where_bodies_have_no_limit_none_is_read_to_look_for_a_token(browser: Callable[..., TestClient]) -> None:
    client = browser(body_limits=(("/stream", None),))
    token = sign_in(client)
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/stream/take", content=b"csrf=" + token.encode(), headers=form).status_code == 403
    assert client.post("/stream/take", content=b"abc", headers={**form, "X-CSRF-Token": token}).text == "3"
