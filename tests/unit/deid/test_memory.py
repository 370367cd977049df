"""A large file needs no more memory than a small one."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from tests.support import ct, part10

FRAMES, SIDE = 2048, 512  # of two bytes a pixel: 1 GiB
MOST = 150_000  # kB
PROGRAM = """
import sys
from pathlib import Path
from carina.deid import Engine, Handling, ProjectKeys, load_profile
engine = Engine(Handling("lung", load_profile("research"), ProjectKeys.of(b"k" * 32, "lung")))
engine.clean_file(Path(sys.argv[1]), lambda clean: Path(sys.argv[2]))
status = Path('/proc/self/status').read_text()  # getrusage would count what the parent had when it forked
print(status.split('VmHWM:')[1].split()[0])
"""


@pytest.mark.slow
def test_a_file_of_a_gigabyte_is_cleaned_in_less_than_150_megabytes(tmp_path: Path) -> None:
    original = pydicom.dcmread(BytesIO(ct(size=SIDE)))
    original.NumberOfFrames = FRAMES
    one = part10(original)
    size = SIDE * SIDE * 2
    large, out = tmp_path / "large.dcm", tmp_path / "out.dcm"
    with large.open("wb") as file:
        file.write(one[: -size - 4] + (size * FRAMES).to_bytes(4, "little"))
        file.truncate(file.tell() + size * FRAMES)  # frames of zeros
        file.seek(-12, 2)
        file.write(b"\1" * 12)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, large, out], capture_output=True, text=True, check=True, timeout=300
    )
    assert int(done.stdout) < MOST
    assert out.stat().st_size > size * FRAMES
    with out.open("rb") as file:
        file.seek(-12, 2)
        assert file.read() == b"\1" * 12
    assert pydicom.dcmread(out, stop_before_pixels=True).NumberOfFrames == FRAMES
