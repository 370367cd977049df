"""Pictures of the quick look: frames a second of a CT slice for eight readers, drawn by threads or by processes; and
how long a researcher waits for a series of 500 slices: its page and the first picture, at first and again.

.venv/bin/python -m benchmarks.look
"""

from __future__ import annotations

import gc
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from starlette.testclient import TestClient
from tests.support import ct
from tests.visiting import browser, enter, open_images

from carina.app.drawing import Drawers
from carina.node.pictures import Draw, draw_here

READERS, FRAMES, SLICES = 8, 120, 500


def ct_slice() -> tuple[Dataset, bytes]:
    """A header and the stored bytes of 512 × 512 values that are as noisy as those of a scanner."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    header.Rows = header.Columns = 512
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    header.RescaleSlope, header.RescaleIntercept, header.WindowCenter, header.WindowWidth = 1, -1024, 40, 400
    row = np.hypot(*np.mgrid[-256:256, -256:256])
    values = np.where(row < 220, 1064, 24) + np.random.default_rng(1).normal(0, 15, row.shape)
    return header, values.astype("<i2").tobytes()


def measure(draw: Draw) -> float:
    """Frames a second."""
    header, stored = ct_slice()
    draw(header, stored, 1, {})
    begin = time.perf_counter()
    with ThreadPoolExecutor(READERS) as readers:
        list(readers.map(lambda _: draw(header, stored, 1, {}), range(FRAMES)))
    return FRAMES / (time.perf_counter() - begin)


def waiting(folder: Path) -> list[tuple[float, float]]:
    """Milliseconds of the server for the page and its picture: of three studies, each for the first time; and again."""
    studies = range(1, 4)
    files = (ct(study=study, number=number, size=512) for study in studies for number in range(1, SLICES + 1))
    with open_images(folder, files) as site, browser(site) as client:
        enter(client, site, site.grant())
        gc.collect()
        gc.freeze()  # as the listener does
        listed = re.findall(r'<th scope="row"><a href="([^"]+)"', client.get(f"/datasets/{site.dataset}").text)
        return [_opened(client, path) for path in [*listed, *listed]]


def _opened(client: TestClient, path: str) -> tuple[float, float]:
    began = time.perf_counter()
    page = client.get(path).text
    shown = time.perf_counter()
    source = re.search(r'<img[^>]* src="([^"]+/frames/[^"]+)"', page)
    if source is None or client.get(unescape(source[1])).status_code != 200:
        raise SystemExit("there is no picture")
    return 1000 * (shown - began), 1000 * (time.perf_counter() - shown)


def main() -> None:
    """Measure and print."""
    with TemporaryDirectory(prefix="carina-look-") as folder:
        both = waiting(Path(folder))
    for name, part in (("at first", both[:3]), ("again", both[3:])):
        figures = ", ".join(f"{page:.0f} + {picture:.0f}" for page, picture in part)
        sys.stdout.write(f"{SLICES} slices, page + first picture, {name}: {figures} ms\n")
    sys.stdout.write(f"threads      {measure(draw_here):6.0f} frames/s\n")
    for count in (1, 2):
        drawers = Drawers(count)
        sys.stdout.write(f"{count} process(es) {measure(drawers.draw):6.0f} frames/s\n")
        drawers.close()


if __name__ == "__main__":
    main()
