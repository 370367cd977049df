"""The console's pages of images under review, over a real node with pictures in quarantine."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from tests.pages import PASSWORD, csrf, node_app, sign_in
from tests.reviewing import DATE, NAME, hold, ultrasound
from tests.support import BREAST, ct
from tests.unit.interfaces.web.conftest import NODE_URL, client_of

from carina.deid.pixels.findings import Box
from carina.errors import BadInput, FinderUnavailable
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.web.review import typed_box
from carina.model.instance import Reason, Source
from carina.node import quarantine, review
from carina.node.site import Node
from carina.storage.accounts import add_account

NAME_VALUE, DATE_VALUE = "12 16 36 232 all", "12 470 36 624 all"
PLANTED = ("Garcia", "GARCIA", "MRN-", "ACC-77", "SN-4711", "Referring", "19600102")


@pytest.fixture
def ben(node: Node) -> Iterator[TestClient]:
    """Another data manager, signed in, with a browser of their own."""
    add_account(node.engine, "ben", PASSWORD, {"data-manager"}, "Ben Otte")
    identity = Identity(LocalAccounts(node.engine, node.id), node.id, secure=False)
    with client_of(node_app(node, identity, NODE_URL), NODE_URL) as client:
        assert sign_in(client, "ben").status_code == 303
        yield client


@pytest.fixture
def one(node: Node) -> str:
    return hold(node, ultrasound(1))


def paths(one: str) -> tuple[str, ...]:
    return ("/review", f"/review/{one}", f"/review/{one}/frames/1", f"/review/{one}/header")


def send(client: TestClient, path: str, verdict: str, *boxes: str, seen: int = 0) -> object:
    form = {"csrf": csrf(client.get(path).text), "verdict": verdict, "seen": str(seen), "box": list(boxes)}
    return client.post(path, data=form)


def test_only_data_managers_see_pictures_and_decide(console: TestClient, node: Node, one: str) -> None:
    for path in paths(one):
        assert console.get(path).headers["location"].startswith("/sign-in?next=")
    sign_in(console, "omar")
    for path in paths(one):
        assert console.get(path).status_code == 403, path
    assert "/review" not in console.get("/").text
    token = csrf(console.get("/account").text)
    answer = console.post(f"/review/{one}", data={"csrf": token, "verdict": "reject", "seen": "0"})
    assert answer.status_code == 403
    assert quarantine.get(node, one).state == "waiting"
    assert node.audit.entries(9, action="image-looked-at") == []


def test_no_page_and_no_picture_is_kept_by_the_browser(nora: TestClient, node: Node) -> None:
    for path in paths(hold(node, ct(), size=(32, 32, 1), boxes=())):
        answer = nora.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), path
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")


def test_no_page_shows_a_value_of_the_header(nora: TestClient, one: str) -> None:
    for path in paths(one)[:2]:
        page = nora.get(path).text
        assert [text for text in PLANTED if text in page] == []
        assert " style=" not in page
        assert "<script>" not in page


def test_the_list_shows_small_pictures_with_their_boxes_and_what_waits(nora: TestClient, node: Node, one: str) -> None:
    hold(node, b"x", project=BREAST, source=Source("aet", "MAMMO"), boxes=(NAME,))
    hold(node, b"x", state="waiting")
    page = nora.get("/review").text
    assert f'src="/review/{one}/frames/1?size=small"' in page
    assert 'viewBox="0 0 640 480"' in page
    assert f'x="{NAME.left}" y="{NAME.top}" width="216" height="24"' in page
    assert re.findall(r"<dt>([^<]+)</dt><dd>(\d+)", page) == [
        ("Wait for readers", "2"),
        ("Wait for the pixel check", "1"),
        ("The check could not read", "0"),
    ]
    of_one = nora.get("/review?project=breast").text
    assert one not in of_one
    assert ("Wait for readers", "1") in re.findall(r"<dt>([^<]+)</dt><dd>(\d+)", of_one)
    assert one in nora.get("/review?project=none-such").text


def test_a_long_list_comes_in_pages(nora: TestClient, node: Node) -> None:
    ids = [hold(node, b"x") for _ in range(25)]
    first = nora.get("/review?project=lung").text
    [older] = re.findall(r'<a class="button" href="(/review\?[^"]+)">Next', first)
    assert ids[24] not in first
    second = nora.get(older.replace("&amp;", "&")).text
    assert [one for one in ids if f'href="/review/{one}' in second] == ids[24:]


def test_an_empty_list_says_what_will_stand_there(nora: TestClient, node: Node) -> None:
    assert "Nothing waits for a reader" in nora.get("/review").text
    hold(node, b"x", state="waiting")
    assert "still looks at 1 image" in nora.get("/review").text


def test_a_picture_is_a_png_small_or_large_or_a_problem(nora: TestClient, node: Node, one: str) -> None:
    large, small = nora.get(f"/review/{one}/frames/1"), nora.get(f"/review/{one}/frames/1?size=small")
    assert large.headers["content-type"] == small.headers["content-type"] == "image/png"
    assert len(small.content) < len(large.content)
    assert nora.get(f"/review/{one}/frames/2").status_code == 404
    assert nora.get("/review/none/frames/1").status_code == 404
    broken = hold(node, ct()[:-200], size=(32, 32, 1))
    assert nora.get(f"/review/{broken}/frames/1").status_code == 400
    assert nora.get(f"/review/{broken}").status_code == 200


def test_without_scripts_the_form_blanks_what_is_ticked(nora: TestClient, node: Node, one: str) -> None:
    page = nora.get(f"/review/{one}").text
    assert re.findall(r'name="box" value="([^"]+)" checked', page) == [NAME_VALUE, DATE_VALUE]
    answer = send(nora, f"/review/{one}", "accept", NAME_VALUE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/review?done=settled")  # type: ignore[attr-defined]
    assert "goes back to the workers" in nora.get("/review?done=settled").text
    assert quarantine.get(node, one).state == "retried"
    assert nora.get(f"/review/{one}").status_code == 404


def test_after_a_decision_the_next_image_of_the_same_project_is_shown(nora: TestClient, node: Node, one: str) -> None:
    hold(node, b"x", project=BREAST, source=Source("aet", "MAMMO"))
    last = hold(node, ultrasound(3))
    answer = send(nora, f"/review/{one}?project=lung", "clear")
    assert answer.headers["location"] == f"/review/{last}?done=clear&project=lung"  # type: ignore[attr-defined]
    assert "there is no text" in nora.get(answer.headers["location"]).text  # type: ignore[attr-defined]
    answer = send(nora, f"/review/{last}?project=lung", "reject")
    assert answer.headers["location"] == "/review?done=rejected&project=lung"  # type: ignore[attr-defined]
    assert quarantine.get(node, last).state == "discarded"


def test_the_page_leads_to_the_images_beside_it(nora: TestClient, node: Node, one: str) -> None:
    last = hold(node, ultrasound(3))
    page = nora.get(f"/review/{one}").text
    assert re.search(rf'rel="next" href="/review/{last}"', page)
    assert 'rel="prev"' not in page
    assert re.search(rf'rel="prev" href="/review/{one}\?project=lung"', nora.get(f"/review/{last}?project=lung").text)


def test_the_second_reader_is_told_what_the_first_said_and_must_agree(
    nora: TestClient, ben: TestClient, node: Node
) -> None:
    held = hold(node, ultrasound(1), readers=2)
    path = f"/review/{held}"
    assert "You are the first." in nora.get(path).text
    answer = send(nora, path, "accept", NAME_VALUE)
    assert answer.headers["location"] == "/review?done=waits"  # type: ignore[attr-defined]
    assert "Waits for another reader" in nora.get("/review").text
    assert "You have decided." in nora.get(path).text
    theirs = ben.get(path).text
    assert "You are the second reader." in theirs
    assert "<b>nora:</b> passes with 1 box blanked" in theirs
    assert re.findall(r'name="box" value="([^"]+)" checked', theirs) == [NAME_VALUE]
    assert send(ben, path, "accept", NAME_VALUE, seen=1).headers["location"] == "/review?done=settled"  # type: ignore[attr-defined]
    assert quarantine.get(node, held).state == "retried"


def test_readers_who_differ_are_told_and_nothing_happens(nora: TestClient, ben: TestClient, node: Node) -> None:
    held = hold(node, ultrasound(1), readers=2)
    send(nora, f"/review/{held}", "accept", NAME_VALUE)
    send(ben, f"/review/{held}", "reject", seen=1)
    page = nora.get(f"/review/{held}").text
    assert "The readers do not agree." in page
    assert "<b>ben:</b> may not pass" in page
    assert quarantine.get(node, held).state == "waiting"


def test_a_decision_that_cannot_be_taken_is_explained_on_the_page(nora: TestClient, node: Node, one: str) -> None:
    path = f"/review/{one}"
    for verdict, boxes, seen, status in (
        ("accept", (), 0, 400),
        ("accept", ("0 0 9999 10 all",), 0, 400),
        ("accept", ("here",), 0, 400),
        ("burn", (), 0, 400),
        ("accept", (NAME_VALUE,), 4, 409),
    ):
        answer = send(nora, path, verdict, *boxes, seen=seen)
        assert answer.status_code == status, (verdict, boxes)  # type: ignore[attr-defined]
        assert 'role="alert"' in answer.text  # type: ignore[attr-defined]
    assert nora.post(path, data={"verdict": "reject", "seen": "0"}).status_code == 403
    assert review.get(node, one).decisions == ()


def test_an_image_of_many_frames_opens_at_the_first_with_a_box(nora: TestClient, node: Node) -> None:
    boxes = (Box(5, 5, 20, 90, 2), Box(30, 5, 50, 90, 4))
    held = hold(node, ultrasound(1, frames=5), size=(480, 640, 5), boxes=boxes)
    page = nora.get(f"/review/{held}").text
    assert f'src="/review/{held}/frames/3"' in page
    assert page.count("<rect data-box") == 1
    assert re.findall(r'name="box" value="([^"]+)" checked', page) == ["5 5 20 90 2", "30 5 50 90 4"]
    assert f'src="/review/{held}/frames/5"' in nora.get(f"/review/{held}?frame=99").text
    assert f"/review/{held}/frames/3?size=small" in nora.get("/review").text


def test_the_header_shows_each_value_before_and_after_and_the_look_is_written_down(
    nora: TestClient, node: Node, one: str
) -> None:
    held = hold(node, ct("MRN-0042"), size=(32, 32, 1), boxes=())
    page = nora.get(f"/review/{held}/header").text
    [patient] = re.findall(r"<tr>\s*<th scope=\"row\">Patient&#39;s Name<.*?</tr>", page, re.DOTALL)
    before, after = re.findall(r'<td data-label="(?:Before|After)">(.*?)</td>', patient)
    assert before == "Garcia^Maria"
    assert "Garcia" not in after
    assert "Rescale Slope" not in page
    assert "Rescale Slope" in nora.get(f"/review/{held}/header?all=1").text
    looks = node.audit.entries(9, action="header-looked-at")
    assert [(entry.actor, entry.subject, entry.details) for entry in looks] == [("nora", held, {"project": "lung"})] * 2


@pytest.mark.parametrize(
    "text", ["", "1 2 3 4", "1 2 3 4 5 6", "-1 2 3 4 all", "1 2 3 4 -1", "1 2 3 4 every", "1 2 3 9999999 all"]
)
def test_a_box_that_is_not_written_as_the_page_does_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        typed_box(text)


def test_a_box_is_read_as_it_is_written() -> None:
    assert typed_box(NAME_VALUE) == NAME
    assert typed_box("12 470 36 624 3") == Box(DATE.top, DATE.left, DATE.bottom, DATE.right, 3)


def test_the_list_says_when_the_text_finder_cannot_start(nora: TestClient, node: Node) -> None:
    assert "cannot start" not in nora.get("/review").text
    waiting = hold(node, b"x", state="waiting")
    with node.engine.begin() as connection:
        quarantine.change_reason(connection, waiting, Reason.PIXELS_NOT_CHECKED, FinderUnavailable().message)
    assert "The text finder cannot start. Run the set-up again" in nora.get("/review").text


def test_whoever_came_from_quarantine_is_led_back_there_and_never_elsewhere(nora: TestClient, one: str) -> None:
    page = nora.get(f"/review/{one}?next=/quarantine/text-in-pixels").text
    assert 'action="/review/' + one + '?next=%2Fquarantine%2Ftext-in-pixels"' in page
    form = {"csrf": csrf(page), "verdict": "clear", "seen": "0"}
    assert 'value="//evil' not in nora.get(f"/review/{one}?next=//evil.example").text
    done = nora.post(f"/review/{one}?next=/quarantine/text-in-pixels", data=form, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, "/quarantine/text-in-pixels")


def test_an_unknown_address_knows_who_has_signed_in(nora: TestClient) -> None:
    page = nora.get("/no-such-page", headers={"Accept": "text/html"})
    assert page.status_code == 404 and 'href="/account"' in page.text
