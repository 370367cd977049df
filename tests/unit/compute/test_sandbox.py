from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support import ROOT
from tests.unit.compute import misbehaving

from carina.compute import sandbox

MEMORY = 1 << 29


def run(function: Callable[..., None], *args: Any, seconds: float = 60, **more: Any) -> str:
    settings: dict[str, Any] = {"memory": MEMORY, "should_stop": lambda: None, "poll": 0.1, **more}
    return sandbox.run(function, args, seconds=seconds, **settings)


def is_gone(pid: int, within: float = 5) -> bool:
    """Whether the process ends so soon; one that waits to be buried counts as ended."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def written(path: Path) -> str:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.02)
    raise AssertionError("the process never began")


def test_a_function_that_returns_did_so_in_another_process(tmp_path: Path) -> None:
    assert run(misbehaving.behave, tmp_path / "pid") == ""
    child, parent = (int(number) for number in (tmp_path / "pid").read_text().split())
    assert child != os.getpid()
    assert parent == os.getpid()


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (misbehaving.fail, ()),
        (misbehaving.leave, (0,)),
        (misbehaving.leave, (3,)),
        (misbehaving.leave_politely, ()),
        (misbehaving.segfault, ()),
        (misbehaving.abort, ()),
    ],
    ids=["raises", "exits with 0", "exits with 3", "exits politely", "segfault", "abort"],
)
def test_what_ends_without_returning_has_crashed(function: Callable[..., None], args: tuple[Any, ...]) -> None:
    assert run(function, *args) == "crashed"


def test_a_function_that_is_not_there_has_crashed() -> None:
    assert run(lambda: None) == "crashed"


@pytest.mark.parametrize("function", [misbehaving.allocate, misbehaving.allocate_arrays])
def test_memory_without_end_is_out_of_memory_and_hurts_nobody_else(function: Callable[..., None]) -> None:
    assert run(function) == "out-of-memory"


def test_memory_within_the_bound_is_given_whatever_the_libraries_reserve() -> None:
    assert run(misbehaving.work_with_arrays, MEMORY // 2) == ""
    assert run(misbehaving.work_with_arrays, MEMORY * 2) == "out-of-memory"


def test_memory_that_could_be_shared_is_bounded_too_if_more_widely() -> None:
    assert run(misbehaving.share, MEMORY * 5) == "out-of-memory"
    assert run(misbehaving.share, MEMORY // 2) == ""


def test_a_file_is_no_larger_than_the_memory(tmp_path: Path) -> None:
    assert run(misbehaving.fill, tmp_path / "file", MEMORY) == ""
    assert run(misbehaving.fill, tmp_path / "other", MEMORY + 1) == "crashed"


def test_what_it_started_ends_with_it_whether_it_returned_or_was_stopped(tmp_path: Path) -> None:
    assert run(misbehaving.leave_another_behind, tmp_path / "left") == ""
    assert is_gone(int((tmp_path / "left").read_text()))
    stop = lambda: "revoked" if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() else None  # noqa: E731
    assert run(misbehaving.wait_for_another, tmp_path / "pid", should_stop=stop) == "revoked"
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_process_that_the_kernel_killed_was_out_of_memory(tmp_path: Path) -> None:
    def kill() -> None:
        if (tmp_path / "pid").exists():
            os.kill(int(written(tmp_path / "pid").split()[0]), signal.SIGKILL)

    assert run(misbehaving.sleep_for_ever, tmp_path / "pid", should_stop=kill) == "out-of-memory"


@pytest.mark.parametrize("function", [misbehaving.sleep_for_ever, misbehaving.compute_for_ever])
def test_what_never_ends_is_ended_at_the_end_of_its_time(function: Callable[..., None], tmp_path: Path) -> None:
    args = (tmp_path / "pid",) if function is misbehaving.sleep_for_ever else ()
    began = time.monotonic()
    assert run(function, *args, seconds=2) == "out-of-time"
    assert time.monotonic() - began < 4


def test_it_ends_within_a_second_of_the_word_to_stop(tmp_path: Path) -> None:
    asked: list[float] = []

    def should_stop() -> str | None:
        if not (tmp_path / "pid").exists():
            return None
        asked.append(time.monotonic())
        return "revoked" if asked[-1] - asked[0] > 0.5 else None

    assert run(misbehaving.sleep_for_ever, tmp_path / "pid", should_stop=should_stop, poll=0.5) == "revoked"
    assert time.monotonic() - asked[-1] < 1
    assert is_gone(int(written(tmp_path / "pid").split()[0]), within=0.5)


def test_it_ends_also_when_asking_whether_to_stop_fails(tmp_path: Path) -> None:
    def fail() -> str | None:
        written(tmp_path / "pid")
        raise OSError("the records are gone")

    with pytest.raises(OSError, match="records"):
        run(misbehaving.sleep_for_ever, tmp_path / "pid", should_stop=fail)
    assert is_gone(int(written(tmp_path / "pid").split()[0]))


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = f"from tests.unit.compute.misbehaving import run_for_ever; run_for_ever({str(tmp_path / 'pid')!r})"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    child, started_by = (int(number) for number in written(tmp_path / "pid").split())
    assert started_by == parent.pid
    parent.kill()
    parent.wait()
    assert is_gone(child)


def test_what_it_prints_and_what_its_errors_say_is_not_seen(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(misbehaving.speak) == ""
    assert run(misbehaving.fail) == "crashed"
    out, err = capfd.readouterr()
    assert "job" not in out
    assert "secret" not in out + err
