# SPDX-License-Identifier: Apache-2.0
"""The application: routes, what stands before them, and how errors are told."""

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import zipvoice
from zipvoice.server import live_routes, service_routes, speech_routes, voice_routes
from zipvoice.server.errors import ApiError, invalid, of_validation
from zipvoice.server.guard import Guard
from zipvoice.server.request_log import HEADER, RequestLog
from zipvoice.server.speaker import Speaker, told


def build_app(speaker: Speaker, keys: Sequence[str] = (), *, tells_ids: bool = True) -> FastAPI:
    """An ASGI application that speaks through `speaker`, for those who have one of the `keys` if there are any.

    `tells_ids`: answers have the header X-Request-Id, which some proxies add themselves.
    """
    app = FastAPI(title="ZipVoice", version=zipvoice.__version__, docs_url=None, redoc_url=None)
    app.state.speaker, app.state.live = speaker, set()
    for room in (speech_routes, voice_routes, service_routes, live_routes):
        app.include_router(room.router)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_middleware(Guard, options=speaker.options, keys=tuple(keys), without_key=service_routes.WITHOUT_KEY)
    app.add_middleware(_Failures)
    if speaker.options.allow_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(speaker.options.allow_origin),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],  # OpenAI's client sends many of its own
            expose_headers=[HEADER, "X-Model", "X-Ignored-Fields", "X-Word-Timestamps", "Retry-After"],
        )
    app.add_middleware(RequestLog, is_on=speaker.options.log_requests, tells=tells_ids)
    return app


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return of_validation(list(error.errors())).response()


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, ApiError):
        return error.response()
    codes = {404: "unknown_url", 405: "method_not_allowed"}
    message = {
        404: f"there is no {request.url.path[:80]!r} here",
        405: f"{request.url.path[:80]!r} takes other methods than {request.method[:20]}, see the header Allow",
    }.get(error.status_code, str(error.detail))
    if error.__cause__ is not None and error.status_code == 400 and "parsing the body" in message:  # FastAPI's words
        return invalid(f"the body cannot be read as JSON: {_reason(error.__cause__)}", code="invalid_json").response()
    code = codes.get(error.status_code, "bad_request")
    headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else error.headers
    return ApiError(error.status_code, message, code, headers=headers).response()


def _methods(request: Request) -> list[str]:
    """What can be done at a path: Starlette tells those of one route alone."""
    return [
        method
        for method in ("GET", "POST", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "a number in it has too many digits"


class _Failures:
    """Answers what failed where the log and other origins still see it: Starlette answers past all middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = False

        async def watched(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if is_begun or scope["type"] != "http":
                raise
            await told(error).response()(scope, receive, send)
