"""A plain sRGB profile, for instances whose IOD wants an ICC Profile (0028,2000).

A scanner's own profile holds texts, dates and tables in which anything may hide, so it does not stay. This one has the
primaries of IEC 61966-2-1 and a gamma of 2.2.
"""

from __future__ import annotations

import struct
from functools import cache

_XYZ = {  # of the primaries and the white, adapted to D50
    b"rXYZ": (0.43607, 0.22249, 0.01392),
    b"gXYZ": (0.38515, 0.71687, 0.09708),
    b"bXYZ": (0.14307, 0.06061, 0.71410),
    b"wtpt": (0.96420, 1.00000, 0.82491),
}
_HEAD, _ENTRY, _ALIGN = 128, 12, 4  # bytes


@cache
def srgb() -> bytes:
    """An ICC profile, version 2.1 (ICC.1:1998-09), of some 450 bytes, the same in every process."""
    name = b"sRGB\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256))
    tags = {b"desc": described, b"cprt": b"text\0\0\0\0none\0", b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    tags |= {tag: b"XYZ \0\0\0\0" + _fixed(values) for tag, values in _XYZ.items()}
    place = _HEAD + 4 + _ENTRY * len(tags)
    entries, body = b"", b""
    for tag, value in sorted(tags.items()):
        entries += tag + struct.pack(">II", place + len(body), len(value))
        body += value + bytes(-len(value) % _ALIGN)
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"\0\0\0\0", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 1998, 9, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(_XYZ[b"wtpt"])
    return head.ljust(_HEAD, b"\0") + struct.pack(">I", len(tags)) + entries + body


def _fixed(values: tuple[float, ...]) -> bytes:
    """Numbers as s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
