"""A run of the folder tool: what is done once, what waits for a sample, and what is looked at again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from carina.app.deid_pool import BLIND, THERE, UNWRITABLE, WAITING, Done, Task
from carina.app.deid_records import CLEAN, TEXT, Records, only_run
from carina.app.deid_run import Run, files_in
from carina.errors import Busy, FinderUnavailable, Full

Judge = Callable[[Task, Mapping[str, str]], Done]
KEY = b"k" * 32


class Hand:
    """A worker in this process."""

    def __init__(self, do: Judge) -> None:
        self._do = do
        self._given: list[Done] = []
        self.tasks: list[Task] = []

    def is_idle(self) -> bool:
        return not self._given

    def is_busy(self) -> bool:
        return bool(self._given)

    def give(self, tasks: list[Task], verdicts: Mapping[str, str]) -> None:
        self.tasks += tasks
        self._given = [self._do(task, verdicts) for task in tasks]

    def collect(self) -> tuple[list[Done], list[Task]]:
        given, self._given = self._given, []
        return given, []


class Bench:
    """A folder of files, and a run through them whose worker writes what it is told."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.source, self.output, self.database = folder / "in", folder / "out", folder / "records"
        self.source.mkdir()
        self.output.mkdir()
        for name in names:
            (self.source / name).write_text(name)
        self.handling, self.version = "a", "1"
        self.withhold: set[str] = set()
        self.searched: list[str] = []
        self.text_in: set[str] = set()
        self.screen_finds: set[str] = set()
        self.broken: set[str] = set()

    def run(self, do: Judge | None = None, *, again: bool = False) -> tuple[list[str], dict[str, str]]:
        """The files that were given to the worker, by name; and those that were not written."""
        hand = Hand(do or self.write)
        records = Records(self.database, KEY, self.handling, self.version)
        records.forget_what_is_gone(self.output)
        try:
            run = Run(records, hand, self.source, self.output, progress=lambda done, found: None)  # type: ignore[arg-type]
            withheld = run.through(again=again)
            self.outcomes = records.outcomes()
        finally:
            records.close()
        return [Path(task.path).name for task in hand.tasks], {Path(path).name: why for path, why in withheld.items()}

    def write(self, task: Task, verdicts: Mapping[str, str]) -> Done:
        if Path(task.path).name in self.withhold:
            return Done(task, "content-not-checked")
        target = f"P/{Path(task.path).name}.dcm"
        (self.output / "P").mkdir(exist_ok=True)
        (self.output / target).write_bytes(bytes(200))
        return Done(task, "released", target, size=200, actions={"X a": 1})

    def plain(self, task: Task, verdicts: Mapping[str, str]) -> Done:
        """As a worker does with plain images that are all of one layout."""
        name, verdict = Path(task.path).name, verdicts.get("L", "")
        if not task.sample_of and not verdict:
            return Done(task, WAITING, layout="L")
        looked = ""
        if task.sample_of or verdict == TEXT or name in self.screen_finds:
            self.searched.append(name)
            looked = TEXT if name in self.text_in else CLEAN
        if name in self.broken:
            return Done(task, "failed")  # as when its worker has died: nobody knows its layout
        return replace(self.write(task, verdicts), layout="L", looked=looked, verdict=verdict)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, [f"{number:02}" for number in range(20)])


def test_a_second_run_finds_nothing_to_do(bench: Bench) -> None:
    assert len(bench.run()[0]) == 20
    assert bench.run()[0] == []
    assert bench.outcomes == {"released": 20}


def test_what_has_changed_or_is_gone_is_done_again(bench: Bench) -> None:
    bench.run()
    (bench.source / "03").write_text("other content")
    (bench.output / "P" / "05.dcm").unlink()
    (bench.output / "P" / "07.dcm").write_bytes(b"")  # as after the machine lost its power
    (bench.source / "99").write_text("new")
    assert bench.run()[0] == ["03", "05", "07", "99"]


def test_when_the_output_was_emptied_nothing_of_it_is_claimed(bench: Bench) -> None:
    bench.run()
    shutil.rmtree(bench.output)
    bench.output.mkdir()
    shutil.rmtree(bench.source)
    bench.source.mkdir()
    (bench.source / "99").write_text("new")
    assert bench.run()[0] == ["99"] and bench.outcomes == {"released": 1}


@pytest.mark.parametrize("outcome", ["failed", "unreadable"])
def test_what_has_failed_is_tried_again_each_time(bench: Bench, outcome: str) -> None:
    bench.run(lambda task, _: Done(task, outcome))
    assert len(bench.run()[0]) == 20 and bench.outcomes == {"released": 20}


def test_another_version_tries_again_what_was_withheld_and_leaves_what_was_written(bench: Bench) -> None:
    bench.withhold = {"03", "04"}
    bench.run()
    bench.version = "2"
    assert bench.run()[0] == ["03", "04"]


def test_of_two_files_for_one_place_the_second_is_told_and_nobodys_file_is_replaced(bench: Bench) -> None:
    def first_wins(task: Task, _: Mapping[str, str]) -> Done:
        name = Path(task.path).name
        place = bench.output / "P"
        place.mkdir(exist_ok=True)
        if not task.before and name in ("01", "02", "05"):
            return Done(task, THERE, f"P/{'01' if name == '02' else name}.dcm", detail="conflict")
        return bench.write(task, {})

    given, withheld = bench.run(first_wins)
    assert withheld == {"02": "conflict"} and bench.outcomes == {"released": 19, "conflict": 1}
    assert given.count("01") == given.count("05") == 2 and given.count("02") == 1


def test_an_output_that_cannot_be_written_ends_the_run(bench: Bench) -> None:
    with pytest.raises(Full, match="No space left"):
        bench.run(lambda task, _: Done(task, UNWRITABLE, detail="No space left on device"))


def test_another_handling_and_the_wish_do_all_again(bench: Bench) -> None:
    bench.run()
    bench.handling = "b"
    assert len(bench.run()[0]) == 20
    assert len(bench.run(again=True)[0]) == 20


def test_what_is_withheld_is_remembered_and_leaves_nothing_behind(bench: Bench) -> None:
    bench.run()
    bench.handling = "stricter"
    _, withheld = bench.run(lambda task, _: Done(task, "content-not-checked"))
    assert len(withheld) == 20 and not list(bench.output.rglob("*.dcm"))
    given, again = bench.run(lambda task, _: Done(task, "content-not-checked"))
    assert given == [] and again == withheld


def test_one_sample_lets_the_images_of_its_layout_pass(bench: Bench) -> None:
    given, _ = bench.run(bench.plain)
    assert bench.searched == ["00"] and set(given) == {f"{number:02}" for number in range(20)}
    assert bench.outcomes == {"released": 20}
    bench.searched.clear()
    (bench.source / "99").write_text("new")  # the verdict is remembered
    bench.run(bench.plain)
    assert bench.searched == [] and bench.outcomes == {"released": 21}


def test_text_in_the_sample_has_every_image_of_the_layout_searched(bench: Bench) -> None:
    bench.text_in = {"00"}
    bench.run(bench.plain)
    assert sorted(bench.searched) == [f"{number:02}" for number in range(20)]


def test_text_in_a_later_image_has_those_searched_that_had_passed(bench: Bench) -> None:
    bench.text_in = bench.screen_finds = {"13"}
    bench.run(bench.plain)
    assert set(bench.searched) == {f"{number:02}" for number in range(20)}
    bench.searched.clear()
    bench.run(bench.plain)
    assert bench.searched == []


def test_when_a_sample_cannot_be_judged_the_next_one_is(bench: Bench) -> None:
    bench.broken = {"00", "01"}
    _, withheld = bench.run(bench.plain)
    assert bench.searched == ["00", "01", "02"]
    assert withheld == {"00": "failed", "01": "failed"} and bench.outcomes["released"] == 18


def test_the_records_hold_no_name_of_a_file(bench: Bench) -> None:
    (bench.source / "Garcia^Maria").mkdir()
    (bench.source / "Garcia^Maria" / "IMG1").write_text("x")
    bench.run(lambda task, _: Done(task, "damaged"))
    raw = b"".join(path.read_bytes() for path in bench.database.parent.glob("records*"))
    assert b"damaged" in raw and b"Garcia" not in raw and b"IMG1" not in raw


def test_only_one_run_has_the_records(tmp_path: Path) -> None:
    with only_run(tmp_path / "r.sqlite3"), pytest.raises(Busy), only_run(tmp_path / "r.sqlite3"):
        pass
    with only_run(tmp_path / "r.sqlite3"):
        pass


def test_files_come_in_the_order_of_names_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "d").symlink_to(tmp_path)
    assert [str(Path(path).relative_to(tmp_path)) for path, _, _ in files_in(tmp_path)] == ["a", "b/1", "b/2", "c"]


def test_without_a_text_finder_the_run_ends_and_says_nothing_of_the_image(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["a", "b"])
    with pytest.raises(FinderUnavailable):
        bench.run(lambda task, verdicts: Done(task, BLIND) if task.path.endswith("b") else bench.write(task, verdicts))
    assert bench.run()[0] == ["b"]
