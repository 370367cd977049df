"""No planted identifier, and no planted text box, is in anything that hub and nodes wrote in a whole demonstration."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import numpy as np
from pydicom import dcmread
from tests.e2e.conftest import Demo

from carina.sample.cohort import SamplePatient, patients, planted, studies
from carina.sample.pictures import text_boxes
from carina.sample.sites import site
from carina.sample.writing import stream


def people(demo: Demo) -> list[SamplePatient]:
    return [one for node in demo.nodes for one in patients(site(node["key"]), demo.state["seed"])]


def test_no_planted_identifier_is_in_any_file_that_hub_and_nodes_wrote(full_demo: Demo, tmp_path: Path) -> None:
    texts = [text for text in planted(people(full_demo)) if len(text) >= 7]
    assert len(texts) > 1000, "the sample plants fewer identifiers than it says"
    encoded = {text.encode("utf-8") for text in texts}
    encoded |= {text.encode("latin-1") for text in texts if all(ord(letter) < 256 for letter in text)}
    patterns = tmp_path / "patterns"
    patterns.write_bytes(b"\n".join(sorted(encoded)) + b"\n")
    # What is still on its way from a scanner is not theirs, nor are the keys and passwords of the demonstration.
    nodes = [node["folder"] for node in full_demo.nodes]
    places = [full_demo.state["hub"]["folder"], *nodes, str(full_demo.folder / "logs")]
    sought = grep(patterns, places)
    assert sought == [], f"{len(sought)} files hold planted texts, such as {Path(sought[0]).name}"
    (tmp_path / "leak.bin").write_bytes(b"\0\xff" + texts[0].encode("utf-8") + b"\0")
    assert grep(patterns, [str(tmp_path / "leak.bin")]), "the search finds nothing at all"


def grep(patterns: Path, places: list[str]) -> list[str]:
    """The files that hold one of the patterns (a line each), byte for byte."""
    command = ["grep", "-r", "-l", "-a", "-F", "-f", str(patterns), *places]
    done = subprocess.run(command, capture_output=True, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, check=False)
    assert done.returncode in (0, 1), done.stderr.decode()
    return done.stdout.decode().splitlines()


def test_no_planted_text_box_is_in_any_stored_image(full_demo: Demo) -> None:
    """The pixels of each box, as its image had them, are at that place in no stored image of the same size."""
    boxes = []
    for person in people(full_demo):
        for study in studies(person):
            places = text_boxes(study)
            for data in stream(study) if places else ():
                image = dcmread(io.BytesIO(data))
                pixels = image.pixel_array
                for box in places.get(str(image.SOPInstanceUID), ()):
                    area = (slice(box.row, box.row + box.height), slice(box.column, box.column + box.width))
                    boxes.append((pixels.shape[:2], area, pixels[area].astype(float)))
    assert boxes, "the sample burns no text into pixels any more"
    sizes = {shape for shape, _, _ in boxes}
    stored = [path for node in full_demo.nodes for path in (Path(node["folder"]) / "store").rglob("*.dcm")]
    assert len(stored) > 1000
    released = 0
    for path in stored:
        image = dcmread(path)
        if "PixelData" not in image or (image.Rows, image.Columns) not in sizes or image.Modality == "SEG":
            continue
        released += image.Modality in ("US", "MG")
        pixels = image.pixel_array
        for shape, area, text in boxes:
            if pixels.shape[:2] == shape and pixels[area].shape == text.shape:
                left = pixels[area].astype(float)
                assert left.std() < 1e-6 or abs(np.corrcoef(text.ravel(), left.ravel())[0, 1]) < 0.5, path.name
    assert released, "no picture of a kind that shows text was checked and released"
