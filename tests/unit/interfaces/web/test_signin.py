"""Signing in and out by the pages' own forms."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from tests.pages import csrf, sign_in

from carina.interfaces.web.pages import local_path


def test_signing_in_leads_back_to_where_one_wanted_to_be(anyone: TestClient) -> None:
    answer = sign_in(anyone, "rosa", back="/explorer?modality=CT")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/explorer?modality=CT"
    assert "Rosa Ruiz" in anyone.get("/account").text
    assert "researcher" in anyone.get("/account").text


def test_a_wrong_password_keeps_the_name_and_says_what_to_do(anyone: TestClient) -> None:
    answer = sign_in(anyone, "rosa", "wrong password here")
    assert answer.status_code == 401
    assert 'value="rosa"' in answer.text
    assert "wrong" in answer.text
    assert "wrong password here" not in answer.text
    assert anyone.get("/account").status_code == 303


def test_too_many_attempts_are_refused_with_429(anyone: TestClient) -> None:
    statuses = [sign_in(anyone, "rosa", f"wrong password {number}").status_code for number in range(6)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example/", "/\\evil.example", "evil", "/a\nb"])
def test_nobody_is_sent_to_another_site_after_signing_in(back: str) -> None:
    assert local_path(back) == "/"


def test_a_form_without_its_token_is_refused(anyone: TestClient) -> None:
    answer = anyone.post("/sign-in", data={"name": "rosa", "password": "correct horse battery", "next": "/"})
    assert answer.status_code == 403
    assert "out of date" in answer.text


def test_signing_out_needs_the_form_and_ends_the_session(rosa: TestClient) -> None:
    assert rosa.get("/sign-out").status_code == 405
    assert rosa.post("/sign-out", data={}).status_code == 403
    answer = rosa.post("/sign-out", data={"csrf": csrf(rosa.get("/account").text)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert rosa.get("/account").headers["location"].startswith("/sign-in?next=")


def test_a_part_asked_for_by_htmx_sends_the_whole_page_to_sign_in(console: TestClient) -> None:
    answer = console.get("/overview", headers={"HX-Request": "true", "HX-Current-URL": "http://node.localhost:8721/"})
    assert answer.headers["hx-redirect"] == "/sign-in?next=%2F"
    assert answer.text == ""
