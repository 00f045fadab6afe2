# SPDX-License-Identifier: Apache-2.0
"""JSON that clients send; two fields of one name are a mistake."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from zipvoice.config.strict_json import DoubledKeyError, unique_keys
from zipvoice.server.errors import invalid


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ApiError for a field that is there twice, ValueError for what is no JSON."""
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except DoubledKeyError as error:
        twice = error.key[:80]
        raise invalid(f"{twice!r} is there twice; send it once", twice, "given_twice") from None


class _JsonRequest(Request):
    async def json(self) -> Any:
        return parsed(await self.body())


class JsonRoute(APIRoute):
    """A route whose body is read so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handle_json
