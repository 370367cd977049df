"""Every identity provider passes this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from carina.errors import SignInFailed, TooMany
from carina.interfaces.api.identity import IdentityProvider, LocalAccounts, MemoryAccounts
from carina.model.principal import Principal
from carina.storage.accounts import add_account, add_token
from carina.storage.database import open_engine, upgrade

SERVICE = "n-" + "b" * 26
PASSWORD = "correct horse battery"
ROSA = Principal("rosa", SERVICE, frozenset({"data-manager"}), "Rosa Ruiz")


class IdentityProviderContract:
    """`provider` knows rosa with the password above; `scanner` is the secret of the token `scanner`."""

    def test_the_right_password_opens_a_session(self, provider: IdentityProvider) -> None:
        session = provider.sign_in("rosa", PASSWORD, "127.0.0.1")
        assert session.principal == ROSA
        assert provider.session(session.secret) == session

    def test_sessions_are_unlike_each_other(self, provider: IdentityProvider) -> None:
        first, second = (provider.sign_in("rosa", PASSWORD, "127.0.0.1") for _ in range(2))
        assert len({first.secret, second.secret, first.csrf, second.csrf}) == 4
        provider.sign_out(first.secret)
        assert provider.session(second.secret) == second

    def test_a_session_that_was_ended_is_gone_and_may_be_ended_again(self, provider: IdentityProvider) -> None:
        session = provider.sign_in("rosa", PASSWORD, "127.0.0.1")
        provider.sign_out(session.secret)
        assert provider.session(session.secret) is None
        provider.sign_out(session.secret)

    def test_a_wrong_password_and_an_unknown_name_fail_alike(self, provider: IdentityProvider) -> None:
        said = []
        for name, password in (("rosa", "wrong password"), ("nobody", PASSWORD), ("rosa", "")):
            with pytest.raises(SignInFailed) as failed:
                provider.sign_in(name, password, "127.0.0.1")
            said.append(failed.value.message)
        assert len(set(said)) == 1

    def test_after_five_failures_a_name_must_wait(self, provider: IdentityProvider) -> None:
        for number in range(5):
            with pytest.raises(SignInFailed):
                provider.sign_in("rosa", "wrong password", f"192.0.2.{number}")
        with pytest.raises(TooMany):
            provider.sign_in("rosa", PASSWORD, "192.0.2.99")

    def test_a_token_stands_for_its_principal_and_is_no_session(self, provider: IdentityProvider, scanner: str) -> None:
        assert provider.token(scanner) == replace(
            ROSA, subject="token:scanner", roles=frozenset({"sender"}), display_name="scanner"
        )
        assert provider.session(scanner) is None

    @pytest.mark.parametrize("secret", ["", "nonsense", "carina_nonsense"])
    def test_a_secret_that_was_never_given_out_belongs_to_nobody(self, provider: IdentityProvider, secret: str) -> None:
        assert provider.session(secret) is None
        assert provider.token(secret) is None

    def test_a_session_does_not_show_its_secrets(self, provider: IdentityProvider) -> None:
        session = provider.sign_in("rosa", PASSWORD, "127.0.0.1")
        assert session.secret not in repr(session)
        assert session.csrf not in repr(session)


class TestMemoryAccounts(IdentityProviderContract):
    @pytest.fixture
    def scanner(self) -> str:
        return "scanner-secret"

    @pytest.fixture
    def provider(self, scanner: str) -> IdentityProvider:
        sender = Principal("token:scanner", SERVICE, frozenset({"sender"}), "scanner")
        return MemoryAccounts({"rosa": (PASSWORD, ROSA)}, {scanner: sender})


class TestLocalAccounts(IdentityProviderContract):
    @pytest.fixture
    def accounts(self, tmp_path: Path) -> Iterator[LocalAccounts]:
        engine = open_engine(f"sqlite:///{tmp_path / 'records.sqlite'}")
        upgrade(engine, "node")
        add_account(engine, "rosa", PASSWORD, {"data-manager"}, "Rosa Ruiz")
        yield LocalAccounts(engine, SERVICE)
        engine.dispose()

    @pytest.fixture
    def provider(self, accounts: LocalAccounts) -> IdentityProvider:
        return accounts

    @pytest.fixture
    def scanner(self, accounts: LocalAccounts) -> str:
        return add_token(accounts.engine, "scanner", {"sender"})
