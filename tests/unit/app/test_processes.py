"""One server for each folder, and processes that end with whoever started them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from carina.app.processes import end_with_parent, only_one
from carina.errors import Busy

HOLD = """
import sys, time
from pathlib import Path
from carina.app.processes import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_held_by_one_process_until_that_ends_however_it_ends(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="already runs"), only_one(tmp_path):
            pass
        holder.kill()
    with only_one(tmp_path):
        pass


def test_a_process_whose_parent_is_another_than_it_was_is_told_to_end() -> None:
    ended = threading.Event()
    end_with_parent(ended.set, parent=os.getpid())  # our parent is another process, so this one "is gone"
    assert ended.wait(5)


def test_a_process_whose_parent_is_there_goes_on() -> None:
    ended = threading.Event()
    end_with_parent(ended.set, parent=os.getppid())
    assert not ended.wait(0.8)
