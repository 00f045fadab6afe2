# SPDX-License-Identifier: Apache-2.0
"""The application: routes, what stands before them, and how errors are told."""

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

import zipvoice
from zipvoice.server import live_routes, service_routes, speech_routes, voice_routes
from zipvoice.server.errors import ApiError, invalid, of_validation
from zipvoice.server.guard import Guard
from zipvoice.server.request_log import HEADER, RequestLog, request_id
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
    app.add_exception_handler(Exception, _of_anything)
    app.add_middleware(Guard, options=speaker.options, keys=tuple(keys), without_key=service_routes.WITHOUT_KEY)
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
    return ApiError(error.status_code, message, code, headers=error.headers).response()


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


async def _of_anything(request: Request, error: Exception) -> Response:
    answer = told(error).response()
    answer.headers[HEADER] = request_id.get()  # Starlette sends this one past all that was added
    return answer
