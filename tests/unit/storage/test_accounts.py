from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Engine, select, update
from tests.stored import records

from carina.errors import BadInput, Conflict, NotFound, SignInFailed, TooMany
from carina.model.clock import now, stamp
from carina.storage import accounts
from carina.storage.schema import node_tables

PASSWORD = "four random words here"
table = node_tables.tables


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Records with the account anna; the hashing is made cheap, one test excepted."""
    monkeypatch.setattr(accounts, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    accounts._dummy.cache_clear()
    with records(tmp_path) as engine:
        accounts.add_account(engine, "anna", PASSWORD, ["researcher", "operator"], "Anna Example")
        yield engine
    accounts._dummy.cache_clear()


def sign_in(engine: Engine, name: str = "anna", password: str = PASSWORD, address: str = "192.0.2.1") -> bool:
    try:
        accounts.check_password(engine, name, password, address)
    except SignInFailed:
        return False
    return True


def later(engine: Engine, minutes: int) -> None:
    """Let the noted attempts be this much older."""
    at = stamp(now() - timedelta(minutes=minutes))
    with engine.begin() as connection:
        connection.execute(update(table["attempts"]).values(at=at))


def test_the_right_password_gives_the_person(engine: Engine) -> None:
    found = accounts.check_password(engine, "anna", PASSWORD, "192.0.2.1", issuer="h-1")
    assert (found.subject, found.issuer, found.display_name) == ("anna", "h-1", "Anna Example")
    assert found.roles == {"researcher", "operator"}


def test_a_wrong_name_and_a_wrong_password_are_answered_alike(engine: Engine) -> None:
    messages = set()
    for name, password in (("anna", "another password"), ("nobody", PASSWORD), ("Anna", PASSWORD), ("anna", "")):
        with pytest.raises(SignInFailed) as caught:
            accounts.check_password(engine, name, password, "192.0.2.1")
        messages.add((caught.value.message, caught.value.hint))
    assert len(messages) == 1


def test_passwords_are_kept_as_argon2id_of_the_librarys_strength(tmp_path: Path) -> None:
    with records(tmp_path) as engine:
        accounts.add_account(engine, "anna", PASSWORD, ["researcher"])
        with engine.connect() as connection:
            hashed = connection.execute(select(table["accounts"].c.password_hash)).scalar_one()
        assert hashed.startswith("$argon2id$")
        assert not PasswordHasher().check_needs_rehash(hashed)
        assert sign_in(engine)


def test_a_password_of_weaker_parameters_is_hashed_anew_at_the_next_sign_in(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stronger = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts, "_hasher", stronger)
    assert sign_in(engine)
    with engine.connect() as connection:
        hashed = connection.execute(select(table["accounts"].c.password_hash)).scalar_one()
    assert not stronger.check_needs_rehash(hashed)
    assert sign_in(engine)


def test_a_password_means_the_same_however_its_letters_are_composed(engine: Engine) -> None:
    accounts.set_password(engine, "anna", "contrase\u00f1a larga")
    assert sign_in(engine, password="contrasen\u0303a larga")
    assert not sign_in(engine, password="lone surrogate \ud800")


def test_five_failures_shut_out_the_name_also_for_the_right_password(engine: Engine) -> None:
    assert [sign_in(engine, password="wrong wrong") for _ in range(5)] == [False] * 5
    for address in ("192.0.2.1", "192.0.2.2"):
        with pytest.raises(TooMany):
            sign_in(engine, address=address)
    later(engine, 14)
    with pytest.raises(TooMany):
        sign_in(engine)
    later(engine, 16)
    assert sign_in(engine)


def test_unknown_names_are_shut_out_as_known_ones_are(engine: Engine) -> None:
    for _ in range(5):
        assert not sign_in(engine, name="nobody")
    with pytest.raises(TooMany):
        sign_in(engine, name="nobody")


def test_twenty_failures_shut_out_the_address(engine: Engine) -> None:
    for number in range(20):
        assert not sign_in(engine, name=f"name{number}")
    with pytest.raises(TooMany):
        sign_in(engine)
    assert sign_in(engine, address="192.0.2.2")


def test_a_sign_in_clears_the_names_failures_and_is_none_itself(engine: Engine) -> None:
    for _ in range(4):
        sign_in(engine, password="wrong wrong")
    assert [sign_in(engine) for _ in range(25)] == [True] * 25
    for _ in range(4):
        assert not sign_in(engine, password="wrong wrong")


def test_attempts_at_once_do_not_pass_together(engine: Engine) -> None:
    failed = []

    def attempt() -> None:
        with suppress(TooMany):
            failed.append(sign_in(engine, password="wrong wrong"))

    threads = [Thread(target=attempt) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [False] * 5


def test_neither_names_tried_nor_addresses_are_kept_in_clear(engine: Engine) -> None:
    sign_in(engine, name="a password typed too early")
    with engine.connect() as connection:
        buckets = " ".join(connection.execute(select(table["attempts"].c.bucket)).scalars())
    assert "typed" not in buckets and "192.0.2.1" not in buckets


@pytest.mark.parametrize("name", ["a", "A" * 3, "a" * 65, "a b", "anna@x", ""])
def test_names_that_will_not_do_are_refused(engine: Engine, name: str) -> None:
    with pytest.raises(BadInput):
        accounts.add_account(engine, name, PASSWORD, ["researcher"])
    with pytest.raises(BadInput):
        accounts.add_token(engine, name, ["sender"])


@pytest.mark.parametrize("password", ["", "123456789", "a" * 1001])
def test_passwords_that_will_not_do_are_refused(engine: Engine, password: str) -> None:
    with pytest.raises(BadInput):
        accounts.add_account(engine, "bert", password, ["researcher"])
    with pytest.raises(BadInput):
        accounts.set_password(engine, "anna", password)


@pytest.mark.parametrize("roles", [[], ["king"], ["researcher", "king"]])
def test_unknown_roles_are_refused(engine: Engine, roles: list[str]) -> None:
    with pytest.raises(BadInput):
        accounts.add_account(engine, "bert", PASSWORD, roles)
    with pytest.raises(BadInput):
        accounts.add_token(engine, "bert", roles)


def test_a_name_is_given_once_and_accounts_are_listed_by_name(engine: Engine) -> None:
    accounts.add_account(engine, "aaron", PASSWORD, ["data-manager"])
    with pytest.raises(Conflict):
        accounts.add_account(engine, "anna", PASSWORD, ["researcher"])
    assert [(one.name, one.roles) for one in accounts.list_accounts(engine)] == [
        ("aaron", {"data-manager"}),
        ("anna", {"researcher", "operator"}),
    ]


def test_a_session_is_its_secrets_until_it_is_closed(engine: Engine) -> None:
    secret, csrf = accounts.open_session(engine, "anna")
    other, other_csrf = accounts.open_session(engine, "anna")
    found = accounts.session(engine, secret, issuer="h-1")
    assert found is not None
    assert (found[0].subject, found[0].issuer, found[1]) == ("anna", "h-1", csrf)
    assert len({secret, csrf, other, other_csrf}) == 4
    accounts.close_session(engine, secret)
    assert accounts.session(engine, secret) is None
    assert accounts.session(engine, other) is not None
    assert accounts.session(engine, "no such") is None


def test_a_session_ends_after_twelve_hours(engine: Engine) -> None:
    secret, _ = accounts.open_session(engine, "anna")
    with engine.begin() as connection:
        expires = connection.execute(select(table["sessions"].c.expires_at)).scalar_one()
        assert stamp(now() + timedelta(hours=11, minutes=59)) < expires < stamp(now() + timedelta(hours=12, minutes=1))
        connection.execute(update(table["sessions"]).values(expires_at=stamp()))
    assert accounts.session(engine, secret) is None


def test_a_new_password_ends_the_sessions(engine: Engine) -> None:
    secret, _ = accounts.open_session(engine, "anna")
    accounts.set_password(engine, "anna", "another password")
    assert accounts.session(engine, secret) is None
    assert sign_in(engine, password="another password")
    assert not sign_in(engine)
    with pytest.raises(NotFound):
        accounts.set_password(engine, "nobody", PASSWORD)


def test_who_is_shut_out_cannot_enter_by_password_session_or_token(engine: Engine) -> None:
    secret, _ = accounts.open_session(engine, "anna")
    program = accounts.add_token(engine, "notebook", ["researcher"], account="anna")
    accounts.set_disabled(engine, "anna", True)
    assert not sign_in(engine)
    assert accounts.session(engine, secret) is None
    assert accounts.token(engine, program) is None
    assert accounts.list_accounts(engine)[0].disabled
    accounts.set_disabled(engine, "anna", False)
    assert sign_in(engine)
    assert accounts.session(engine, secret) is None
    assert accounts.token(engine, program) is not None


def test_a_token_is_its_holder_until_it_is_revoked(engine: Engine) -> None:
    secret = accounts.add_token(engine, "scanner-2", ["sender"])
    assert secret.startswith("carina_") and len(secret) == len("carina_") + 43
    found = accounts.token(engine, secret, issuer="n-1")
    assert found is not None
    assert (found.subject, found.issuer, found.roles) == ("token:scanner-2", "n-1", {"sender"})
    assert accounts.token(engine, secret[:-1]) is None
    assert accounts.token(engine, "") is None
    accounts.revoke_token(engine, "scanner-2")
    assert accounts.token(engine, secret) is None
    [listed] = accounts.list_tokens(engine)
    assert (listed.name, listed.revoked, listed.expires_at) == ("scanner-2", True, None)
    with pytest.raises(Conflict):
        accounts.add_token(engine, "scanner-2", ["sender"])
    with pytest.raises(NotFound):
        accounts.revoke_token(engine, "scanner-3")


def test_a_token_may_do_no_more_than_its_account(engine: Engine) -> None:
    secret = accounts.add_token(engine, "notebook", ["researcher", "data-manager"], account="anna")
    found = accounts.token(engine, secret)
    assert found is not None
    assert found.roles == {"researcher"}
    with pytest.raises(NotFound):
        accounts.add_token(engine, "other", ["researcher"], account="nobody")


def test_a_token_with_days_ends(engine: Engine) -> None:
    secret = accounts.add_token(engine, "notebook", ["researcher"], days=1)
    assert accounts.token(engine, secret) is not None
    with engine.begin() as connection:
        connection.execute(update(table["tokens"]).values(expires_at=stamp()))
    assert accounts.token(engine, secret) is None
    for days in (0, 3651):
        with pytest.raises(BadInput):
            accounts.add_token(engine, "other", ["researcher"], days=days)


def test_no_secret_is_in_the_records(engine: Engine, tmp_path: Path) -> None:
    cookie, _ = accounts.open_session(engine, "anna")
    token = accounts.add_token(engine, "notebook", ["researcher"])
    written = b"".join(path.read_bytes() for path in tmp_path.glob("records.sqlite*"))
    assert b"notebook" in written
    for secret in (cookie, token, PASSWORD):
        assert secret.encode() not in written
