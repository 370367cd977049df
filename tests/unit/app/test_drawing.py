"""Processes that draw: the same pictures, and one that is killed is replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from pydicom import Dataset
from tests.support import ct

from carina.app.drawing import Drawers
from carina.dicom.parse import parse
from carina.dicom.rendering import Window
from carina.errors import InvalidInstance
from carina.node.pictures import draw_here


@pytest.fixture(scope="module")
def drawers() -> Iterator[Drawers]:
    made = Drawers(1)
    yield made
    made.close()


def image() -> tuple[Dataset, bytes]:
    dataset = parse(ct())
    return dataset, dataset.PixelData


def test_pictures_are_those_that_the_server_draws(drawers: Drawers) -> None:
    header, stored = image()
    for window in (None, Window(40, 400)):
        assert drawers.draw(header, stored, 1, {"window": window}) == draw_here(header, stored, 1, {"window": window})


def test_errors_are_told_as_the_servers_own(drawers: Drawers) -> None:
    header, stored = image()
    with pytest.raises(InvalidInstance):
        drawers.draw(header, stored[:10], 1, {})


def test_a_killed_process_is_replaced_and_the_picture_drawn(drawers: Drawers) -> None:
    header, stored = image()
    drawn = drawers.draw(header, stored, 1, {})
    for pid in list(drawers._pool._processes):
        os.kill(pid, signal.SIGKILL)
    assert drawers.draw(header, stored, 1, {}) == drawn
