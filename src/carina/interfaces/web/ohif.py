"""OHIF on the outside listener: its files, and the pages that open it with one study.

A study's page hands a viewer one study: a visit of its own, whose cookie is sent to that study's addresses and nowhere
else. The page may run what OHIF needs, and talk to `/ohif/` of this origin only. Every answer asks `node.authorise`
anew; an open viewer asks every few seconds whether it may stay, and closes when it may not.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from carina.errors import NotFound
from carina.interfaces.api.visitors import Visitors
from carina.interfaces.dicomweb.conditions import unchanged
from carina.interfaces.dicomweb.opening import RETRIEVE, Opener, by_viewer
from carina.interfaces.dicomweb.routes import dicomweb_routes
from carina.interfaces.language import current, gettext
from carina.interfaces.web.pages import Pages
from carina.interfaces.web.studypage import POLL
from carina.model.ids import uid
from carina.node import visits
from carina.node.site import Node

PACKAGE = "carina_viewer"
PLACE = "/ohif"
OPEN = f"{PLACE}/open/{{iri}}/{{shown}}"
A_DAY = "public, max-age=86400"


@dataclass(frozen=True)
class Viewer:
    """The viewer's files, in the package that `make viewer` installs.

    script, style  what its page loads
    listed         by path: where a file lies in the package, its media type, its encoding, and its SHA-256
    """

    version: str
    build: str
    script: str
    style: str
    listed: dict[str, dict[str, str]]
    folder: Traversable

    def read(self, path: str) -> bytes:
        """A file as it lies there."""
        return self.folder.joinpath(self.listed[path]["place"]).read_bytes()


@cache
def viewer() -> Viewer | None:
    """The viewer, if its package is installed."""
    try:
        folder = files(PACKAGE)
    except ModuleNotFoundError:
        return None
    said = json.loads(folder.joinpath("index.json").read_text(encoding="utf-8"))
    return Viewer(said["version"], said["build"], said["script"], said["style"], said["files"], folder)


def ohif_routes(node: Node, identity: Visitors, pages: Pages, url: str) -> list[BaseRoute]:
    """Everything under `/ohif/`, and the form on a study's page; nothing where the viewer is not installed.

    url  the listener's address for clients, as in DICOMweb's answers
    """
    installed = viewer()
    if installed is None:
        return []
    cookie = f"{identity.cookie}-viewer"
    opener = by_viewer(node, cookie)
    return [
        _hand_over(node, identity, cookie),
        *_page_routes(installed, pages, opener),
        Mount(f"{OPEN}/dicom-web", routes=dicomweb_routes(node, opener, url, stores=False)),
        Route(f"{PLACE}/{{path:path}}", partial(_file, installed), methods=["GET"]),
    ]


def _hand_over(node: Node, identity: Visitors, cookie: str) -> Route:
    async def hand_over(request: Request) -> Response:
        visit = await identity.visit(request)
        study = uid(request.path_params["study"])
        opened = await run_in_threadpool(visits.open_viewer, node, visit, study)
        prefix = f"{PLACE}/open/{visit.dataset}/{study}"
        response = RedirectResponse(f"{prefix}/viewer?StudyInstanceUIDs={study}", HTTPStatus.SEE_OTHER)
        response.set_cookie(
            cookie, opened.secret, path=prefix, secure=identity.secure, httponly=True, samesite="strict"
        )
        return response

    return Route("/datasets/{iri}/studies/{study}/ohif", hand_over, methods=["POST"])


def _page_routes(installed: Viewer, pages: Pages, opener: Opener) -> list[Route]:
    async def page(request: Request) -> Response:
        await opener(request, RETRIEVE)
        context = {"viewer": installed, "prefix": _prefix(request), "back": _back(request), "poll": POLL}
        text = pages.text(request, "ohif/viewer.html", **context)
        return HTMLResponse(text, headers={"Content-Security-Policy": policy(request)})

    async def config(request: Request) -> Response:
        await opener(request, RETRIEVE)
        text = await run_in_threadpool(_config, _prefix(request), _back(request), pages.title)
        return Response(text, media_type="text/javascript; charset=utf-8")

    async def access(request: Request) -> Response:
        await opener(request, RETRIEVE)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def ended(request: Request) -> Response:
        await opener(request, RETRIEVE)  # raises why it has ended
        return RedirectResponse(_back(request), HTTPStatus.SEE_OTHER)

    return [
        Route(f"{OPEN}/viewer", page, methods=["GET"]),
        Route(f"{OPEN}/app-config.js", config, methods=["GET"]),
        Route(f"{OPEN}/access", access, methods=["GET"]),
        Route(f"{OPEN}/ended", ended, methods=["GET"]),
    ]


def policy(request: Request) -> str:
    """What OHIF's pages and workers may do: their own scripts, WebAssembly, and this origin's `/ohif/`."""
    own = f"{request.url.scheme}://{request.url.netloc}"
    return (
        "default-src 'none'; base-uri 'none'; object-src 'none'; frame-src 'none'; form-action 'none'; "
        "frame-ancestors 'none'; script-src 'self' 'unsafe-eval' blob:; worker-src 'self' blob:; "
        "style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
        f"img-src {own}{PLACE}/ {own}/static/ data: blob:; media-src {own}{PLACE}/ blob:; "
        f"connect-src {own}{PLACE}/ data: blob:"
    )


async def _file(installed: Viewer, request: Request) -> Response:
    path = request.path_params["path"]
    if path not in installed.listed:
        raise NotFound("The viewer has no such file.", "Open it from a study's page.")
    about = installed.listed[path]
    tag = f'"{about["sha256"]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": A_DAY if ".bundle." in path or path.endswith((".wasm", ".woff2")) else "no-cache",
        "Content-Security-Policy": policy(request),  # of workers: theirs is that of their own script
        "Vary": "Accept-Encoding",
    }
    if unchanged(request.headers, tag) is not None:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    data = await run_in_threadpool(installed.read, path)
    if about["encoding"] == "gzip":
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            data = await run_in_threadpool(gzip.decompress, data)
    return Response(data, headers=headers, media_type=about["media"])


def _prefix(request: Request) -> str:
    return f"{PLACE}/open/{request.path_params['iri']}/{uid(request.path_params['shown'])}"


def _back(request: Request) -> str:
    return f"/datasets/{request.path_params['iri']}/studies/{uid(request.path_params['shown'])}"


def _config(prefix: str, back: str, title: str) -> str:
    """OHIF's settings as a script: one source of images, no list of studies, no tour, nothing off this host."""
    web = f"{prefix}/dicom-web"
    source = {
        "friendlyName": title,
        "name": "carina",
        "qidoRoot": web,
        "wadoRoot": web,
        "wadoUriRoot": web,
        "qidoSupportsIncludeField": True,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "staticWado": False,
        "singlepart": "bulkdata,video,pdf",
        "omitQuotationForMultipartRequest": False,
        "bulkDataURI": {"enabled": True},
        "dicomUploadEnabled": False,
    }
    settings: dict[str, Any] = {
        "name": "carina",
        "routerBasename": prefix,
        "extensions": [],
        "modes": [],
        "customizationService": {},
        "showStudyList": False,
        "maxNumberOfWebWorkers": 2,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "disableConfirmationPrompts": True,  # segmentations and structures show when they are opened
        "investigationalUseDialog": {"option": "never"},
        "groupEnabledModesFirst": True,
        "maxNumRequests": {"interaction": 6, "thumbnail": 2, "prefetch": 4},
        "defaultDataSourceName": "carina",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "carina",
                "configuration": source,
            }
        ],
    }
    words = {"back": back, "text": gettext("Back to the study"), "note": gettext("For research; not for diagnosis.")}
    return (
        f'window.PUBLIC_URL = "{PLACE}/";\n'
        "window.browserImportFunction = (name) => import(name);\n"
        f"window.config = {json.dumps(settings)};\n"
        f"window.carina = {json.dumps({**words, 'language': current()})};\n"
    )
