# SPDX-License-Identifier: Apache-2.0
"""Routes about the server: models, health, counts, and the page."""

import asyncio
import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from zipvoice.server.errors import ApiError
from zipvoice.server.metrics import CONTENT_TYPE, exposition
from zipvoice.server.openapi_page import openapi_page
from zipvoice.server.speaker import Speaker
from zipvoice.server.speech_routes import Speaking

PAGE = Path(__file__).parent / "page"
PAGE_FILES = {"/": "index.html", "/app.css": "app.css", "/app.js": "app.js"}
WITHOUT_KEY = frozenset({*PAGE_FILES, "/health", "/ready", "/docs", "/openapi.json"})
"""What everybody may ask for: it tells nothing and costs nothing."""
POLICY = "default-src 'self'; media-src 'self' blob: data:; img-src 'self' blob: data:; base-uri 'none'"
"""What the page may load: nothing from elsewhere."""
STARTED = int(time.time())

router = APIRouter(tags=["server"])


@router.get("/v1/models", tags=["models"])
async def models(speaker: Speaking) -> dict[str, Any]:
    """The model that is served."""
    return {"object": "list", "data": [_model(speaker)]}


@router.get("/v1/models/{model}", tags=["models"])
async def model(model: str, speaker: Speaking) -> dict[str, Any]:
    """The model that is served, by its name."""
    if model != speaker.model:
        raise ApiError(
            404, f"there is no model {model[:80]!r}; this server has {speaker.model}", "model_not_found", "model"
        )
    return _model(speaker)


def _model(speaker: Speaker) -> dict[str, Any]:
    known = {"id": speaker.model, "object": "model", "created": STARTED, "owned_by": "zipvoice"}
    return {**known, "variant": speaker.synthesizer.model.description.variant}


@router.get("/health")
async def health(speaker: Speaking) -> JSONResponse:
    """Whether the process answers, and could speak: 503 where only another start helps."""
    has_failed = speaker.scheduler.state == "failed"
    return JSONResponse({"status": "failed" if has_failed else "ok"}, 503 if has_failed else 200)


@router.get("/ready")
async def ready(speaker: Speaking) -> JSONResponse:
    """Whether requests are let in and spoken: 503 while the server ends, and while one after the other fails."""
    state = speaker.scheduler.state
    reason = {"failing": "the last requests all failed; the log says why", "failed": "it must be started again"}
    why = {"reason": reason[state]} if state in reason else {}
    return JSONResponse({"status": state, **why}, 200 if state == "ready" else 503)


@router.get("/metrics", response_class=Response)
async def metrics(speaker: Speaking) -> Response:
    """Counts of the scheduler and of the process, for Prometheus."""
    counts = exposition(speaker.scheduler.metrics(), len(asyncio.all_tasks()))
    return Response(counts, media_type=CONTENT_TYPE)


@router.get("/docs", include_in_schema=False)
async def openapi(request: Request) -> HTMLResponse:
    """All routes and their fields."""
    return HTMLResponse(openapi_page(request.app.openapi()))


def _page(name: str, speaker: Speaker) -> Response:
    kind = {"html": "text/html", "css": "text/css", "js": "text/javascript"}[name.rpartition(".")[2]]
    frames = " ".join(("'self'", *speaker.options.allow_origin))  # where others would have people click on it
    policy = f"{POLICY}; frame-ancestors {frames}"
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return Response((PAGE / name).read_bytes(), headers=headers, media_type=kind)


@router.get("/", include_in_schema=False)
async def index(speaker: Speaking) -> Response:
    return _page("index.html", speaker)


@router.get("/app.css", include_in_schema=False)
async def style(speaker: Speaking) -> Response:
    return _page("app.css", speaker)


@router.get("/app.js", include_in_schema=False)
async def script(speaker: Speaking) -> Response:
    return _page("app.js", speaker)
