"""What an address says of frames and pictures, PS3.18 sections 8.3.5 and 10.4.1.1.6."""

from __future__ import annotations

import re

from starlette.datastructures import QueryParams
from starlette.requests import Request

from carina.dicom.rendering import MAX_SIDE, Media, Viewport, Window
from carina.errors import BadInput
from carina.interfaces.dicomweb.media import accepted, fits

MAX_FRAMES = 1000  # in one request
SHAPES = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_NUMBER = re.compile(r"[+-]?\d{1,12}(\.\d{1,12})?")
_HINT = "See docs/conformance.md for the parameters of a rendered image."


def frame_numbers(text: str) -> list[int]:
    """`1,3,4` as numbers, each once, or `BadInput`."""
    items = text.split(",", MAX_FRAMES)
    if len(items) > MAX_FRAMES or not all(item.isdecimal() and 0 < len(item) < 9 for item in items):
        raise BadInput("This is no list of frames.", f"Write up to {MAX_FRAMES} numbers with commas between, from 1.")
    numbers = [int(item) for item in items]
    if len(set(numbers)) < len(numbers):
        raise BadInput("The list names a frame twice.", "Write each number once.")
    return numbers


def media_of(request: Request) -> tuple[Media, bool] | None:
    """The picture's type that the client likes best, and whether it asks for parts; None when it takes no picture."""
    for wanted in accepted(request):
        if fits(wanted.inner, "image/jpeg"):
            return "image/jpeg", wanted.multipart
        if wanted.inner == "image/png":
            return "image/png", wanted.multipart
    return None


def window_of(parameters: QueryParams) -> Window | None:
    """`window=center,width[,shape]`; None without it."""
    text = parameters.get("window")
    if text is None:
        return None
    parts = text.split(",")
    numbers, shape = parts[:2], parts[2] if len(parts) == 3 else "linear"
    if len(parts) not in (2, 3) or not all(_NUMBER.fullmatch(part) for part in numbers) or shape not in SHAPES:
        raise BadInput("'window' is not center,width,shape.", _HINT)
    center, width = (float(part) for part in numbers)
    if width <= 0 or (shape == "linear" and width < 1):
        raise BadInput("The width of 'window' is too small.", _HINT)
    return Window(center, width, SHAPES[shape])


def viewport_of(parameters: QueryParams) -> Viewport | None:
    """`viewport=width,height[,x,y,width,height]`, the last four in pixels of the source; None without it."""
    text = parameters.get("viewport")
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) not in (2, 6) or not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise BadInput("'viewport' is not width,height or width,height,x,y,width,height.", _HINT)
    numbers = [int(part) for part in parts]
    if not all(0 < side <= MAX_SIDE for side in numbers[:2]) or 0 in numbers[4:]:
        raise BadInput(f"The sides of 'viewport' are from 1 to {MAX_SIDE} pixels.", _HINT)
    region = (numbers[2], numbers[3], numbers[4], numbers[5]) if len(numbers) == 6 else None
    return Viewport(numbers[0], numbers[1], region)


def quality_of(parameters: QueryParams) -> int:
    """`quality`, 1 to 100; 90 without it."""
    text = parameters.get("quality", "90")
    if not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= 100:
        raise BadInput("'quality' is no whole number from 1 to 100.", _HINT)
    return int(text)
