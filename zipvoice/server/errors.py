# SPDX-License-Identifier: Apache-2.0
"""Mistakes and refusals in OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`, whatever raised them."""

import math
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
"""Of `error.type` by status; other mistakes of a client are invalid_request_error, those of the server server_error."""


class ApiError(HTTPException):
    """What a client is told instead of what it asked for.

    Args:
        status: HTTP status.
        message: what is wrong and what to do about it.
        code: a word for programs.
        param: the field that is wrong.
        headers: sent with it.
    """

    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.message, self.code, self.param = _whole(message), code, None if param is None else _whole(param)

    @property
    def body(self) -> dict[str, Any]:
        return {"message": self.message, "type": error_type(self.status_code), "param": self.param, "code": self.code}

    def response(self) -> JSONResponse:
        return JSONResponse({"error": self.body}, self.status_code, self.headers)


def _whole(text: str) -> str:
    """A text that can be sent: halves of characters, which JSON knows, are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def error_type(status: int) -> str:
    return TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """A request that cannot be done as it is."""
    return ApiError(400, message, code, param)


def busy(message: str, retry_after_seconds: float, code: str) -> ApiError:
    """A request that may be sent again later."""
    return ApiError(429, message, code, headers={"Retry-After": str(max(1, math.ceil(retry_after_seconds)))})


def of_validation(errors: list[dict[str, Any]]) -> ApiError:
    """The error of a body that is not what the schema says: the first of pydantic's complaints, and how many more."""
    first, place = errors[0], [str(part) for part in errors[0]["loc"]]
    place = place[place[:1] in (["body"], ["query"], ["path"]) :]
    if first["type"] == "json_invalid":
        return invalid(f"the body is not valid JSON: {first['ctx']['error']}", code="invalid_json")
    if first["type"] == "model_attributes_type" and not place:
        return invalid("send a JSON object, with the header Content-Type: application/json", code="no_json_object")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    message = ".".join(place) + ": " + first["msg"] if place else first["msg"].removeprefix("Value error, ")
    param = ".".join(place) or first.get("ctx", {}).get("param")
    return invalid(message + more, param, first["type"])
