"""No output has an error that its input had not, by `dciodvfy`, the validator of dicom3tools."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from tests.support import corpus_files

from carina.deid.engine.rewrite import deidentify
from carina.deid.pixels.findings import Findings
from carina.deid.profile import BUILT_IN
from carina.deid.pseudonyms import ProjectKeys
from carina.errors import CarinaError
from carina.model.ids import ProjectId
from carina.model.instance import RawInstance

LUNG = ProjectId("lung")
KEYS = ProjectKeys.of(b"k" * 32, LUNG)
VALIDATOR = Path(sys.executable).with_name("dciodvfy")
LOOKED = Findings((), "none")
LARGEST = 8_000_000  # bytes
_VALUE = re.compile(r"<[^>]*>")
_NUMBER = re.compile(r"\[\d+\]|\d{6,}|[\d.]{12,}")
COMMON = (
    "CT_small.dcm",
    "MR_small.dcm",
    "rtplan.dcm",
    "rtdose_1frame.dcm",
    "liver_1frame.dcm",
    "examples_rgb_color.dcm",
)


def errors(path: Path) -> set[str]:
    """What the validator calls errors, values and positions left out."""
    told = subprocess.run([VALIDATOR, "-new", path], capture_output=True, timeout=60, check=False)
    lines = (told.stdout + told.stderr).decode("latin-1").splitlines()
    return {_NUMBER.sub("#", _VALUE.sub("<>", line)) for line in lines if line.startswith("Error")}


def clean(path: Path) -> bytes:
    raw, profile = RawInstance(path.read_bytes()), BUILT_IN["research"]
    return deidentify(raw, profile, KEYS, project=LUNG, default_issuer="HUS", findings=LOOKED).data


def new_errors(path: Path, data: bytes, folder: Path) -> set[str]:
    """The errors of a clean file that its original has not."""
    output = folder / "clean.dcm"
    output.write_bytes(data)
    return errors(output) - errors(path)


@pytest.mark.parametrize("name", COMMON)
def test_common_kinds_pass_and_have_no_new_error(name: str, tmp_path: Path) -> None:
    path = Path(str(get_testdata_file(name)))
    assert new_errors(path, clean(path), tmp_path) == set()


@pytest.mark.slow
def test_no_real_file_has_a_new_error(tmp_path: Path) -> None:
    count, found = 0, {}
    for path in (path for path in corpus_files()[::3] if path.stat().st_size < LARGEST):
        try:
            data = clean(path)
        except CarinaError:  # test_corpus.py has its say on which of them pass
            continue
        count += 1
        more = new_errors(path, data, tmp_path)
        if more:
            found[path.name] = more
    assert found == {}
    assert count > 50
