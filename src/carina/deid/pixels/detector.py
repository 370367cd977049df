"""The process in which text is looked for: reads pictures from its input, writes where text stands to its output.

It is started by `finder`, with an empty environment but for `ORT_DISABLE_TELEMETRY` (since 1.29 onnxruntime for Linux
reports to its maker unless told otherwise before it is loaded), and closes the network to itself before it loads
anything: the kernel then refuses each socket. What the pictures say is never passed on, only where it stands.

Models: PP-OCRv4, in the package rapidocr-onnxruntime.
"""

from __future__ import annotations

import os
import resource
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from carina.deid.pixels.technical import SURE, is_technical
from carina.dicom.enclosure import close_network

Picture = np.ndarray[Any, Any]
REQUEST = struct.Struct("<IIBB")  # rows, columns, samples (1 or 3), whether text must be legible
REPLY = struct.Struct("<I")  # how many places follow
PLACE = struct.Struct("<4i")  # top, left, bottom, right
MEMORY = 4 << 30  # bytes that the process may write to
SIDE = 960  # pixels: the longest side at which the model looks
MOST = 3.0  # how much a small picture is enlarged
TALL, TALLEST, LEAST_TALL = 0.08, 0.125, 30  # of the picture's shorter side, and pixels: lines are hardly ever taller
SEEN = 0.35  # how sure the model must be of a place: lines written over one another look less like text
GUESSED, LEGIBLE = 0.45, 0.6  # how sure a reading must be, from 0 to 1
_FEWEST_SIGNS = 3  # different ones, for a text to be legible


def main() -> None:
    """Answer requests until the input ends."""
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing that a library prints may meet the answers
    enclose()
    find = detector()
    while header := source.read(REQUEST.size):
        rows, columns, samples, legible = REQUEST.unpack(header)
        picture = np.frombuffer(_exactly(source, rows * columns * samples), np.uint8)
        places = find(picture.reshape(rows, columns, samples), bool(legible))
        target.write(REPLY.pack(len(places)) + b"".join(PLACE.pack(*place) for place in places))
        target.flush()


def enclose() -> None:
    """Bound the memory, die with the parent, and have the kernel refuse sockets. Raises `OSError` where it cannot."""
    if os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
        raise OSError("onnxruntime must not be loaded without ORT_DISABLE_TELEMETRY=1")
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    close_network()


def detector() -> Callable[[Picture, bool], list[tuple[int, ...]]]:
    """What finds text in a picture; the models are loaded, on one thread."""
    import cv2
    from rapidocr_onnxruntime import RapidOCR

    cv2.setNumThreads(1)
    reader: Any = RapidOCR(
        intra_op_num_threads=1,
        inter_op_num_threads=1,
        det_limit_type="max",
        det_limit_side_len=1e9,
        det_box_thresh=SEEN,
    )

    def sized(colours: Picture) -> Picture:
        rows, columns = colours.shape[:2]
        scale = min(SIDE / max(rows, columns), MOST)
        size = (max(32, round(columns * scale / 32) * 32), max(32, round(rows * scale / 32) * 32))
        return np.asarray(cv2.resize(colours, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))

    def placed(colours: Picture) -> list[Picture]:
        """The corners of what looks like lines of text, in pixels of this picture."""
        shown = sized(colours)
        corners, _ = reader.text_det(shown)
        scale = np.array((colours.shape[1] / shown.shape[1], colours.shape[0] / shown.shape[0]))
        return [] if corners is None else [corner * scale for corner in corners]

    def read(colours: Picture, corners: list[Picture]) -> list[tuple[str, float]]:
        if not corners:
            return []
        shown = sized(colours)
        scale = np.array((shown.shape[1] / colours.shape[1], shown.shape[0] / colours.shape[0]))
        cuts = reader.get_crop_img_list(shown, np.array([corner * scale for corner in corners], np.float32))
        told = [(str(text), float(score)) for text, score, *_ in reader.text_rec(cuts)[0]]
        upright = [number for number, corner in enumerate(corners) if _is_upright(corner)]
        if upright:  # they were turned one way to be read; it may have been the wrong one
            turned = reader.text_rec([np.ascontiguousarray(cuts[number][::-1, ::-1]) for number in upright])[0]
            for number, (text, score, *_) in zip(upright, turned, strict=True):
                told[number] = max(told[number], (str(text), float(score)), key=lambda one: one[1])
        return told

    def find(picture: Picture, legible: bool) -> list[tuple[int, ...]]:
        colours = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else np.ascontiguousarray(picture[..., ::-1])
        rows, columns = picture.shape[:2]
        tallest = max(TALLEST * min(rows, columns), LEAST_TALL)
        corners = placed(colours)
        usual = len(corners)
        for corner in [corner for corner in corners if _height(corner) > tallest]:
            top, left, bottom, right = _bounds(corner, rows, columns)
            closer = placed(np.ascontiguousarray(colours[top:bottom, left:right]))
            corners += [inner + np.array((left, top)) for inner in closer if _height(inner) <= tallest]
        told = read(colours, corners)
        kept = [
            corner
            for number, (corner, (text, score)) in enumerate(zip(corners, told, strict=True))
            if _is_text(text, score, _wanted(_height(corner), min(rows, columns), legible or number >= usual))
        ]
        return [_bounds(corner, rows, columns) for corner in kept]

    return find


def _is_text(text: str, score: float, wanted: float) -> bool:
    """Whether what was read is to be blanked: all that is not surely technical, and is `wanted` as sure as it must be.

    Where nothing need be read (0), all counts; else three different letters or digits, so that 000 is none.
    """
    if score >= SURE and is_technical(text):
        return False
    signs = {sign for sign in text if sign.isalnum()}
    return wanted == 0 or (score >= wanted and len(signs) >= (_FEWEST_SIGNS if wanted >= LEGIBLE else 2))


def _wanted(height: float, shorter: int, legible: bool) -> float:
    """How sure the reading of a place must be for it to count, by its height and the picture's shorter side.

    Small places always count where text is expected: their letters may be too small to be read.
    """
    if legible or height > max(TALLEST * shorter, LEAST_TALL):
        return LEGIBLE
    return GUESSED if height > max(TALL * shorter, LEAST_TALL / 2) else 0.0


def _height(corners: Picture) -> float:
    """The shorter side of a place: how tall its letters are at most."""
    return float(min(np.hypot(*(corners[0] - corners[1])), np.hypot(*(corners[1] - corners[2]))))


def _is_upright(corners: Picture) -> bool:
    """Whether a place is that much taller than wide that its text runs up or down."""
    width, height = np.hypot(*(corners[0] - corners[1])), np.hypot(*(corners[0] - corners[3]))
    return bool(height >= 1.5 * width)


def _bounds(corners: Picture, rows: int, columns: int) -> tuple[int, ...]:
    """The upright rectangle around four corners."""
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    return max(0, int(top)), max(0, int(left)), min(rows, int(bottom) + 1), min(columns, int(right) + 1)


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise EOFError
    return data


if __name__ == "__main__":
    main()
