"""Real files from everywhere: each is taken in, or refused with a named reason, and memory stays flat."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support import CORPUS, ROOT, corpus_files

from carina.model.instance import Reason

GROWTH = 96 * 2**20
"""Bytes that memory may grow by between the hundredth file and the last; the largest file has 3.6 MiB."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """One process that takes the whole corpus in."""
    folder = tmp_path_factory.mktemp("corpus") / "node"
    corpus_files()
    command = [sys.executable, "-m", "tests.integration.processes", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def fates(run: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What became of each file, in order."""
    assert run.returncode == 0, run.stderr[-2000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


def table(fates: list[dict[str, Any]]) -> str:
    """The numbers per set, as a person reads them."""
    sets: dict[str, Counter[str]] = {}
    for fate in fates:
        name = Path(fate["path"]).relative_to(CORPUS).parts[0]
        sets.setdefault(name, Counter())[fate["reason"] or fate["state"]] += 1
    lines = [f"\n{'set':18}{'files':>6}  what became of them"]
    for name, counts in sets.items():
        what = ", ".join(f"{count} {word}" for word, count in counts.most_common())
        lines.append(f"{name:18}{counts.total():>6}  {what}")
    total = Counter[str]()
    for counts in sets.values():
        total += counts
    what = ", ".join(f"{count} {word}" for word, count in total.most_common())
    return "\n".join([*lines, f"{'all':18}{total.total():>6}  {what}\n"])


def test_each_file_is_taken_in_or_refused_with_a_named_reason(
    fates: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        sys.stdout.write(table(fates))
    assert [fate["path"] for fate in fates] == [str(path) for path in corpus_files()]
    for fate in fates:
        if fate["state"] == "quarantined":
            assert fate["reason"] in set(Reason), fate["path"]
            assert fate["detail"], fate["path"]
        else:
            assert fate["state"] in ("archived", "unchanged"), fate["path"]


def test_nothing_fails_in_a_way_that_nobody_foresaw(
    run: subprocess.CompletedProcess[str], fates: list[dict[str, Any]]
) -> None:
    assert [fate["path"] for fate in fates if fate["reason"] == Reason.FAILED] == []
    assert run.stderr == ""


def test_plain_scanner_images_pass(fates: list[dict[str, Any]]) -> None:
    states = Counter(fate["state"] for fate in fates if "/dcm_qa_nih/" in fate["path"])
    assert states == {"archived": 608}


def test_memory_stays_flat(fates: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    resident = [int(fate["resident"]) for fate in fates]
    with capsys.disabled():
        sys.stdout.write(f"\nmemory {resident[99] >> 20} MiB after 100 files, {max(resident) >> 20} MiB at most\n")
    assert max(resident[100:]) - resident[99] < GROWTH
