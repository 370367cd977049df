"""`carina deid` on a folder, with its workers: what is written, what is not, and what the key holder alone can do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from tests.support import ct
from tests.unit.cli.conftest import Run

from carina.app import deid_pool
from carina.app.deid_pool import FAILED, THERE, Done, Pool, Task, Told
from carina.deid.profile import load_profile
from carina.model.ids import ProjectId

PDF = "1.2.840.10008.5.1.4.1.1.104.1"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two persons' images in folders that name them, and what else lies there."""
    folder = tmp_path_factory.mktemp("source") / "in"
    (folder / "Garcia_Maria" / "20240311").mkdir(parents=True)
    (folder / "Okafor").mkdir()
    for number in (1, 2, 3):
        (folder / "Garcia_Maria" / "20240311" / f"IMG{number}").write_bytes(ct(number=number))
    (folder / "Okafor" / "a.dcm").write_bytes(ct("MRN-0002", elements={"PatientAge": "093Y"}))
    (folder / "Okafor" / "again.dcm").write_bytes(ct("MRN-0002", elements={"PatientAge": "093Y"}))
    (folder / "Okafor" / "letter.dcm").write_bytes(ct("MRN-0002", number=9, elements={"SOPClassUID": PDF}))
    (folder / "Okafor" / "cut.dcm").write_bytes(ct("MRN-0002", number=8)[:-700])
    (folder / "Okafor" / "notes.txt").write_text("Okafor was here in March")
    return folder


def order(source: Path, folder: Path, *more: object) -> tuple[object, ...]:
    return "deid", source, folder / "out", "--key-file", folder / "key", "--profile", "basic", *more


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_de_identified_reported_and_found_done(run: Run, source: Path, tmp_path: Path) -> None:
    said = run(*order(source, tmp_path, "--mapping", tmp_path / "m", "--withheld", tmp_path / "q"))
    assert said.code == 0, said.error
    assert "4 of 8 files written for 2 patients" in said.output and "content-not-checked" in said.output
    written = files(tmp_path / "out")
    assert len(written) == 5 and "report.json" in written
    for name, data in written.items():
        telling = (b"Garcia", b"Okafor", b"MRN-000", b"letter.dcm", b"20240311/IMG", b"Ficticio", b"SN-4711")
        assert not any(word in data for word in telling), name
    for name in written.keys() - {"report.json"}:
        dataset = pydicom.dcmread(BytesIO(written[name]))
        assert name == "/".join(
            (dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID + ".dcm")
        )
    report = json.loads(written["report.json"])["report"]
    assert report["files"]["withheld"] == {"content-not-checked": 1, "damaged": 1}
    assert report["files"]["not_copied"] == {"duplicate": 1, "not-dicom": 1}
    assert report["written"] == {"patients": 2, "studies": 2, "series": 2, "instances": 4}
    assert sum(item["elements"] for item in report["actions"]) > 100
    assert report["anonymity"]["sets"][0]["persons"] == 2
    withheld = tmp_path / "q" / "withheld.csv"
    assert "letter.dcm" in withheld.read_text() and stat.S_IMODE(withheld.stat().st_mode) == 0o600
    assert "MRN-0001" in (tmp_path / "m" / "patid_mapping.csv").read_text()

    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.dcm")}
    assert run(*order(source, tmp_path)).output == said.output.partition("\n")[2]  # all but "A key was made"
    assert files(tmp_path / "out") == written
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.dcm")}

    person = pydicom.dcmread(BytesIO(written[min(written)])).PatientID
    told = run("deid", "reveal", person, "--key-file", tmp_path / "key")
    assert told.code == 0 and told.output.startswith("patient: MRN-000")
    run("deid", "reveal", "P" * 17, "--key-file", tmp_path / "key").complaint(66, "does not have")


def test_two_workers_write_the_same_bytes_as_one_and_another_key_none_of_them(
    run: Run, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("k" * 40)
    for name, key, more in (("a", "k", ()), ("b", "k", ("--workers", "2", "--no-map")), ("c", "x", ())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(key * 40)
        assert run(*order(source, tmp_path / name, *more)).code == 0
    first, second, other = (files(tmp_path / name / "out") for name in "abc")
    assert first == second
    assert {name for name in first if "/" in name}.isdisjoint(other)
    assert (tmp_path / "a" / "key.records" / "map.sqlite3").exists()
    assert not (tmp_path / "b" / "key.records" / "map.sqlite3").exists()


def test_two_files_with_one_uid_and_other_content_are_not_mixed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1").write_bytes(ct())
    (tmp_path / "in" / "2").write_bytes(ct(elements={"KVP": "80"}))
    said = run(*order(tmp_path / "in", tmp_path))
    assert said.code == 0 and "1 of 2 files written" in said.output and "1 conflict" in said.output
    (written,) = (tmp_path / "out").rglob("*.dcm")
    assert pydicom.dcmread(written).KVP == 120
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.endswith(".part")]


def test_a_report_that_was_changed_or_is_another_keys_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert run(*order(tmp_path / "in", tmp_path)).code == 0
    path = tmp_path / "out" / "report.json"
    said = run("deid", "report", path, "--key-file", tmp_path / "key")
    assert "0 of 0 files written" in said.output and "Signed by the key file" in said.output
    assert run("deid", "key", tmp_path / "key").output.split()[-1] == said.output.split()[-1]
    assert json.loads(run("deid", "report", path, "--json").output)["form"] == "carina-deid-report/1"
    (tmp_path / "other").write_text("o" * 32)
    run("deid", "report", path, "--key-file", tmp_path / "other").complaint(65, "not signed with the key")
    path.write_text(path.read_text().replace('"given": 0', '"given": 1'))
    run("deid", "report", path).complaint(65, "changed after it was signed")
    path.write_text("no report")
    run("deid", "report", path).complaint(65, "no report")


def test_a_difference_is_shown_and_nothing_is_written(run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 40)
    arguments = ("deid", "diff", source / "Okafor" / "a.dcm", "--key-file", tmp_path / "key", "--profile", "basic")
    said = run(*arguments)
    assert said.code == 0 and "MRN-0002" in said.output and "PS3.15" in said.output
    shown = {each["path"]: each for each in json.loads(run(*arguments, "--json", "--all").output)}
    assert shown["(0010,0020)"]["before"] == "MRN-0002" and shown["(0010,0020)"]["after"].startswith("P")
    assert not shown["(0018,0060)"]["changed"]
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    letter = ("deid", "diff", source / "Okafor" / "letter.dcm", *arguments[3:])
    run(*letter).complaint(65, "would be withheld: content-not-checked")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mapping", "out/mapping"), "given away"),
        (("--withheld", "out"), "given away"),
        (("--records", "out/records"), "given away"),
        (("--key-file", "out/key"), "given away"),
        (("--mapping", "in/mapping"), "only read"),
        (("--withheld", "in"), "only read"),
        (("--records", "in/records"), "only read"),
        (("--key-file", "in/key"), "only read"),
        (("--report", "in/report.json"), "only read"),
        (("--report", "missing/report.json"), "not there"),
    ],
)
def test_nothing_is_written_where_it_must_not_lie(
    run: Run, tmp_path: Path, options: tuple[str, str], words: str
) -> None:
    (tmp_path / "in").mkdir()
    said = run(*order(tmp_path / "in", tmp_path), options[0], tmp_path / options[1])
    said.complaint(65, words)
    assert [path.name for path in tmp_path.rglob("*")] == ["in"]


def test_one_folder_in_the_other_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    arguments = ("--key-file", tmp_path / "key")
    for output in (tmp_path / "in", tmp_path / "in" / "out"):
        run("deid", tmp_path / "in", output, *arguments).complaint(65, "lies in the other")
    (tmp_path / "a" / "in").mkdir(parents=True)
    run("deid", tmp_path / "a" / "in", tmp_path / "a", *arguments).complaint(65, "lies in the other")


def test_words_that_mean_nothing_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "short").write_text("short")
    good = ("deid", tmp_path / "in", tmp_path / "out")
    run(*good, "--key-file", tmp_path / "short").complaint(78, "less than 32 bytes")
    run(*good, "--key-file", tmp_path / "key", "--profile", "none").complaint(78, "no de-identification profile")
    run(*good, "--key-file", tmp_path / "key", "--project", "No Name").complaint(65, "no name for a project")
    assert run("deid", tmp_path / "nowhere", tmp_path / "out", "--key-file", tmp_path / "key").code == 2
    assert run(*good).code == 2
    run("deid", "reveal", "P1", "--key-file", tmp_path / "none").complaint(78, "no key file")
    (tmp_path / "key2").write_text("k" * 40)
    run("deid", "reveal", "P1", "--key-file", tmp_path / "key2").complaint(66, "no map")


def alive(session: int) -> list[str]:
    """The processes of a session that still run; those that ended and that nobody asked about do not count."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, own = path.read_text().rpartition(") ")[2].split()[:4]
            if own == str(session) and state != "Z":
                found.append(path.parent.name)
    return found


LISTENING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""For tests that run in the background, whose processes would be deaf to it."""


def test_a_run_that_is_ended_leaves_no_process_and_no_half_file_and_goes_on(source: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(1500):
        (tmp_path / "in" / str(number)).write_bytes(ct(number=number, size=128))
    words = [str(word) for word in order(tmp_path / "in", tmp_path)]
    program = [sys.executable, "-c", LISTENING + "from carina.cli.main import main; main()", *words]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    until = time.monotonic() + 60
    while not any((tmp_path / "out").rglob("*.dcm")) and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in error
    before = list((tmp_path / "out").rglob("*"))
    assert not [path for path in before if path.name.endswith(".part")]
    until = time.monotonic() + 10
    while alive(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(process.pid)
    assert subprocess.run(program, capture_output=True, check=True, timeout=120).stdout.count(b"1500 of 1500")
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 1500


def test_a_run_that_is_killed_leaves_only_whole_files_and_goes_on(source: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(200):
        (tmp_path / "in" / str(number)).write_bytes(ct(number=number, size=128))
    words = [str(word) for word in order(tmp_path / "in", tmp_path, "--workers", "2")]
    program = [sys.executable, "-c", "from carina.cli.main import main; main()", *words]
    quiet = subprocess.DEVNULL
    for least in (1, 40, 120):
        process = subprocess.Popen(program, stdout=quiet, stderr=quiet, start_new_session=True)
        until = time.monotonic() + 60
        while len(list((tmp_path / "out").rglob("*.dcm"))) < least and time.monotonic() < until:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        for path in (tmp_path / "out").rglob("[!.]*.dcm"):
            assert len(pydicom.dcmread(path).PixelData) == 128 * 128 * 2
    assert subprocess.run(program, capture_output=True, check=True, timeout=120).stdout.count(b"200 of 200")
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(left) == 201 and not [name for name in left if name.startswith(".")]


@pytest.mark.filterwarnings("ignore:The string")
def test_what_comes_back_keeps_its_person_uids_and_dates(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1").write_bytes(ct())
    assert run(*order(tmp_path / "in", tmp_path)).code == 0
    (image,) = (pydicom.dcmread(path) for path in (tmp_path / "out").rglob("*.dcm"))
    returned = segmentation([image])
    (tmp_path / "returned").mkdir()
    returned.save_as(tmp_path / "returned" / "seg.dcm")
    words = "deid", tmp_path / "returned", tmp_path / "checked", "--key-file", tmp_path / "key", "--pseudonymised"
    assert "1 of 1 files written" in run(*words).output
    (checked,) = (pydicom.dcmread(path) for path in (tmp_path / "checked").rglob("*.dcm"))
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StudyDate", "PixelData"):
        assert checked[keyword].value == returned[keyword].value
    (source,) = checked.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert source.ReferencedSOPInstanceUID == image.SOPInstanceUID
    returned.PatientIdentityRemoved = "NO"
    returned.save_as(tmp_path / "returned" / "seg.dcm")
    assert "1 not-pseudonymised" in run(*words, "--again").output


def segmentation(images: list[pydicom.Dataset]) -> pydicom.Dataset:
    """A segmentation of these images, as a researcher's program makes one."""
    kind = hd.seg.SegmentAlgorithmTypeValues.MANUAL
    segment = hd.seg.SegmentDescription(1, "Lung", codes.SCT.Organ, codes.SCT.Lung, kind)
    pixels = np.ones((len(images), images[0].Rows, images[0].Columns), np.uint8)
    made = hd.seg.Segmentation(
        images, pixels, hd.seg.SegmentationTypeValues.BINARY, [segment], hd.UID(), 9, hd.UID(), 1, "M", "N", "1", "S"
    )
    made.PatientIdentityRemoved = "YES"
    return made


def test_a_clinical_table_is_judged_together_with_the_images(run: Run, source: Path, tmp_path: Path) -> None:
    columns = "patient_id,sex,birth_date,topography,morphology,diagnosis_date,stage,treatment,vital_status"
    rows = ("MRN-0001,F,1958-04-30,C34.1,8140/3,2021-11-02,IIIA,surgery,alive", "OTHER,F,1960-01-01,C50.1,,,,,dead")
    (tmp_path / "table.csv").write_text("\n".join((columns, *rows)))
    assert run(*order(source, tmp_path, "--clinical", tmp_path / "table.csv")).code == 0
    risk = json.loads((tmp_path / "out" / "report.json").read_text())["report"]["anonymity"]
    assert risk["joint_with_clinical_table"] and {each["persons"] for each in risk["sets"]} == {2}
    assert any("stage" in each["attributes"] or "site" in each["attributes"] for each in risk["sets"])


def test_one_file_may_be_given_instead_of_a_folder(run: Run, source: Path, tmp_path: Path) -> None:
    said = run(*order(source / "Okafor" / "a.dcm", tmp_path))
    assert said.code == 0 and "1 of 1 files written" in said.output


def test_an_emptied_output_is_filled_again_and_two_outputs_do_not_know_each_other(
    run: Run, source: Path, tmp_path: Path
) -> None:
    first = run(*order(source, tmp_path)).output
    shutil.rmtree(tmp_path / "out")
    assert run(*order(source, tmp_path)).output == first.partition("\n")[2]
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 4
    other = run("deid", source, tmp_path / "other", "--key-file", tmp_path / "key", "--profile", "basic")
    assert other.code == 0 and len(list((tmp_path / "other").rglob("*.dcm"))) == 4


def test_what_cannot_be_read_is_counted_and_an_output_that_cannot_be_made_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty").write_bytes(b"")
    (tmp_path / "in" / "archive.zip").write_bytes(b"PK\3\4" + bytes(100))
    (tmp_path / "in" / os.fsdecode(b"M\xfcller.dcm")).write_bytes(ct())
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    said = run(*order(tmp_path / "in", tmp_path, "--withheld", tmp_path / "q"))
    assert said.code == 0 and "1 of 3 files written" in said.output and "2 not-dicom" in said.output
    (tmp_path / "file").write_text("")
    run("deid", tmp_path / "in", tmp_path / "file" / "out", "--key-file", tmp_path / "key").complaint(65, "be made")


def test_a_file_that_ends_its_worker_twice_has_failed_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deid_pool, "PATIENCE", 1.0)
    told = Told(tmp_path, load_profile("basic"), b"k" * 32, ProjectId("lung"), way_back=False)
    (tmp_path / "good").write_bytes(ct())
    os.mkfifo(tmp_path / "stuck")  # nobody writes to it: a worker that opens it waits for ever
    waiting = [[Task(str(tmp_path / name), 1, 1) for name in ("good", "stuck")]]
    done: list[Done] = []
    with Pool(told, 1) as pool:
        while waiting or pool.is_busy():
            if waiting and pool.is_idle():
                pool.give(waiting.pop(0), {})
            finished, again = pool.collect()
            done += finished
            waiting += [[task] for task in again]
    assert {Path(each.task.path).name: each.outcome for each in done} == {"good": THERE, "stuck": FAILED}


def test_a_broken_header_is_damaged_and_its_values_are_not_said(tmp_path: Path) -> None:
    rows, words = b"\x28\x00\x10\x00US", b"MEIER^HANS 42 "
    at = (data := ct()).index(rows)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1").write_bytes(data[:at] + rows + b"\x0e\x00" + words + data[at + 10 :])
    sets = b"CS\x0a\x00ISO_IR 192"
    for number in range(2, 4):
        named = (data := ct(number=number)).replace(sets, b"CS\x0a\x00MEIERHANS ")
        assert named != data
        (tmp_path / "in" / str(number)).write_bytes(named)
    words = [str(word) for word in order(tmp_path / "in", tmp_path, "--profile", "research", "--no-sample")]
    program = [sys.executable, "-c", "from carina.cli.main import main; main()", *words, "--workers", "1"]
    said = subprocess.run(program, capture_output=True, check=False, timeout=120)
    assert said.returncode == 0 and b"damaged" in said.stdout and b"failed" not in said.stdout
    assert b"MEIER" not in said.stdout + said.stderr and not said.stderr


def test_what_a_killed_run_wrote_and_no_record_names_does_not_stay(run: Run, source: Path, tmp_path: Path) -> None:
    assert run(*order(source, tmp_path)).code == 0
    written = files(tmp_path / "out")
    orphan = (tmp_path / "out" / min(written)).with_name("1.2.3.dcm")
    orphan.write_bytes(b"")
    run(*order(source, tmp_path)).complaint(65, "Choose an empty folder")  # that run had ended by itself
    assert orphan.exists()
    (database,) = (tmp_path / "key.records").glob("[!m]*.sqlite3")
    database.with_suffix(".running").touch()
    assert run(*order(source, tmp_path)).code == 0
    assert files(tmp_path / "out") == written and not database.with_suffix(".running").exists()


def test_a_program_gets_the_report_and_nothing_else(run: Run, source: Path, tmp_path: Path) -> None:
    said = run(*order(source, tmp_path, "--json"))
    assert json.loads(said.output) == json.loads((tmp_path / "out" / "report.json").read_text())["report"]
    assert "A key was made" in said.error


def test_a_difference_shows_the_pseudonym_that_the_run_gives(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1").write_bytes(ct("007"))
    assert run(*order(tmp_path / "in", tmp_path, "--strip-leading-zeros")).code == 0
    (image,) = (pydicom.dcmread(path) for path in (tmp_path / "out").rglob("*.dcm"))
    words = "deid", "diff", tmp_path / "in" / "1", "--key-file", tmp_path / "key", "--profile", "basic"
    assert image.PatientID not in run(*words).output
    assert image.PatientID in run(*words, "--strip-leading-zeros").output
    run(*words[:4], tmp_path / "none").complaint(78, "`carina deid key KEY` makes one")


def test_a_wrong_use_is_told_by_the_name_that_was_typed(run: Run, tmp_path: Path) -> None:
    said = run("deid", tmp_path)
    assert said.code == 2 and "carina deid [OPTIONS] IN OUT" in said.error and "deid folder" not in said.error
