"""Addresses of hubs and nodes for people and browsers (RFC 3986), and the origins of their pages (RFC 6454)."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

LONGEST = 300
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?"
_ADDRESS = re.compile(rf"https?://(?:{_NAME}|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{{1,5}}))?(?:/[A-Za-z0-9._~-]*)*")
_PORTS = {"http": 80, "https": 443}


def web_address(text: str) -> str:
    """`text`, when it is http(s), a host, perhaps a port, perhaps a path of plain letters, and nothing else.

    Raises `ValueError` for any other: it goes into headers and forms, so nothing in it may have a second meaning.

    >>> web_address("https://hub.example.org:8443/carina")
    'https://hub.example.org:8443/carina'
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or len(text) > LONGEST:
        raise ValueError("write an address as in https://hub.example.org:8443, with no name, password, query or #")
    inner, port = found.groups()
    if inner is not None:
        ipaddress.IPv6Address(inner)
    if port is not None and not 0 < int(port) < 65_536:
        raise ValueError("a port is a number from 1 to 65535")
    return text


def origin(address: str) -> str:
    """The origin of pages at a web address as browsers write it: small letters, no port that is the scheme's own.

    Raises `ValueError` for what is no web address.

    >>> origin("https://Hub.Example.org:443/x")
    'https://hub.example.org'
    """
    parts = urlsplit(web_address(address))
    host = (parts.hostname or "").lower()
    host = f"[{ipaddress.IPv6Address(host)}]" if ":" in host else host
    own = parts.port in (None, _PORTS[parts.scheme])
    return f"{parts.scheme}://{host}" if own else f"{parts.scheme}://{host}:{parts.port}"
