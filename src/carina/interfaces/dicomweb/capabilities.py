"""What the service can do, for programs: Retrieve Capabilities, PS3.18 section 8.9, as WADL; and its word to methods
that a resource does not take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import quoteattr

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from carina.errors import BadInput
from carina.interfaces.api.problems import problem
from carina.interfaces.dicomweb.media import accepted, fits
from carina.interfaces.dicomweb.qido import root_of
from carina.interfaces.dicomweb.resources import Resource

WADL = "application/vnd.sun.wadl+xml"
_TYPES = (WADL, "application/xml", "text/xml")
_NAMESPACE = "http://wadl.dev.java.net/2009/02"
_SCHEMA = "http://www.w3.org/2001/XMLSchema"
_INDENT = "  "


class Others:
    """Answers at one address to the methods that its routes do not have: OPTIONS, and those that are not offered."""

    def __init__(self, resources: Sequence[Resource], url: str) -> None:
        self._resources = resources
        self._url = url
        methods = {resource.method for resource in resources}
        self.allow = ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Describe the address, or refuse the method."""
        request = Request(scope)
        request.state.address = self._url
        response = self._describe(request) if request.method == "OPTIONS" else _refuse(request.method)
        response.headers["Allow"] = self.allow
        response.headers["Cache-Control"] = "no-store"
        await response(scope, receive, send)

    def _describe(self, request: Request) -> Response:
        wanted = (offer for media in accepted(request) for offer in _TYPES if fits(media.type, offer))
        media = next(wanted, None)
        if media is None:
            return problem(BadInput("The service is described in WADL only.", f"Accept {WADL}."), 406)
        return Response(wadl(self._resources, root_of(request)), 200, media_type=media)


def other_routes(resources: Iterable[Resource], url: str) -> list[Route]:
    """For each address, and for the service's own, what answers the methods that no route before these takes."""
    everything = list(resources)
    paths = dict.fromkeys(resource.path for resource in everything)
    of = {path: [resource for resource in everything if resource.path == path] for path in paths}
    return [Route(path, Others(some, url)) for path, some in {"/": everything, **of}.items()]


def wadl(resources: Sequence[Resource], root: str) -> str:
    """The resources in the Web Application Description Language."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<application xmlns={quoteattr(_NAMESPACE)} xmlns:xs={quoteattr(_SCHEMA)}>",
    ]
    lines.append(f"{_INDENT}<resources base={quoteattr(root + '/')}>")
    for path in dict.fromkeys(resource.path for resource in resources):
        place = path.replace(":path}", "}").lstrip("/")
        lines.append(f"{_INDENT * 2}<resource path={quoteattr(place)}>")
        for resource in resources:
            if resource.path == path:
                lines += _method(resource)
        lines.append(f"{_INDENT * 2}</resource>")
    return "\n".join([*lines, f"{_INDENT}</resources>", "</application>", ""])


def _method(resource: Resource) -> list[str]:
    deep = _INDENT * 4
    parameters = [_parameter(name) for name in ("accept", *resource.parameters)]
    types = [f"<representation mediaType={quoteattr(media)}/>" for media in resource.media]
    return [
        f"{_INDENT * 3}<method name={quoteattr(resource.method)} id={quoteattr(_id(resource))}>",
        f"{deep}<request>",
        *(deep + _INDENT + line for line in parameters),
        f"{deep}</request>",
        f'{deep}<response status="200">',
        *(deep + _INDENT + line for line in types),
        f"{deep}</response>",
        f"{_INDENT * 3}</method>",
    ]


def _parameter(name: str) -> str:
    return f'<param name={quoteattr(name)} style="query" type="xs:string"/>'


def _id(resource: Resource) -> str:
    return "".join(word.capitalize() for word in resource.name.replace("-", " ").split())


def _refuse(method: str) -> Response:
    if method == "DELETE":
        told = BadInput(
            "Nothing is deleted by DICOMweb.", "The site's data manager forgets persons at the node itself."
        )
    else:
        told = BadInput("This address does not take requests of this kind.", "Its header 'Allow' names those it takes.")
    return problem(told, 405)
