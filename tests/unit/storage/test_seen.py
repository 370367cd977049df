from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select
from tests.stored import process, records

from carina.model.clock import now
from carina.storage.schema import node_tables
from carina.storage.seen import first_time

SOON = timedelta(minutes=1)


def test_a_message_is_new_once_also_after_a_restart(tmp_path: Path) -> None:
    with records(tmp_path) as engine:
        assert first_time(engine, "n-a", "nonce", now() + SOON)
        assert not first_time(engine, "n-a", "nonce", now() + SOON)
    with records(tmp_path) as engine:
        assert not first_time(engine, "n-a", "nonce", now() + SOON)


def test_senders_and_nonces_are_told_apart(tmp_path: Path) -> None:
    with records(tmp_path) as engine:
        pairs = [("n-a", "one"), ("n-a", "two"), ("n-b", "one")]
        assert [first_time(engine, *pair, now() + SOON) for pair in pairs] == [True] * 3


def test_what_has_expired_is_forgotten_and_the_rest_is_not(tmp_path: Path) -> None:
    seen = node_tables.tables["seen_messages"]
    with records(tmp_path) as engine:
        first_time(engine, "n-a", "old", now() - SOON)
        first_time(engine, "n-a", "new", now() + SOON)
        first_time(engine, "n-a", "newer", now() + SOON)
        with engine.connect() as connection:
            assert connection.execute(select(func.count()).select_from(seen)).scalar_one() == 2


def test_of_processes_that_get_the_same_message_one_finds_it_new(tmp_path: Path) -> None:
    code = """
from datetime import timedelta
from carina.model.clock import now
from tests.records import new_records
from carina.storage.seen import first_time
engine = new_records(folder / "records.sqlite", "node")
print("ready", flush=True)
sys.stdin.readline()
print(sum(first_time(engine, "n-a", str(number), now() + timedelta(minutes=1)) for number in range(20)))
"""
    with records(tmp_path):
        receivers = [process(code, tmp_path) for _ in range(2)]
        for receiver in receivers:
            assert receiver.stdout is not None
            assert receiver.stdout.readline() == "ready\n"
        outputs = [receiver.communicate("go\n", timeout=60)[0] for receiver in receivers]
    assert sum(map(int, outputs)) == 20
