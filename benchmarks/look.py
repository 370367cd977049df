"""Pictures of the quick look: frames a second of a CT slice for eight readers, drawn by threads or by processes.

.venv/bin/python -m benchmarks.look
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset

from carina.app.drawing import Drawers
from carina.node.pictures import Draw, draw_here

READERS, FRAMES = 8, 120


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


def main() -> None:
    """Measure and print."""
    sys.stdout.write(f"threads      {measure(draw_here):6.0f} frames/s\n")
    for count in (1, 2):
        drawers = Drawers(count)
        sys.stdout.write(f"{count} process(es) {measure(drawers.draw):6.0f} frames/s\n")
        drawers.close()


if __name__ == "__main__":
    main()
