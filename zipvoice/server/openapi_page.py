# SPDX-License-Identifier: Apache-2.0
"""The routes and their fields as a page for people, made from the OpenAPI description; it loads nothing else."""

from collections.abc import Iterator
from html import escape
from typing import Any

SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}"
    "code{font-family:ui-monospace,monospace}"
)


def openapi_page(schema: dict[str, Any]) -> str:
    """An HTML page of an OpenAPI description."""
    parts = "".join(
        part
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        for part in _operation(method, path, operation, schema)
    )
    title = escape(f"{schema['info']['title']} {schema['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
        f'<p><a href="/openapi.json">openapi.json</a></p>{parts}'
    )


def _operation(method: str, path: str, operation: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation.get('description', ''))}</p>"
    rows = list(_rows(operation, schema))
    if rows:
        yield f"<table><tr><th>field<th>type<th>default<th>{''.join(rows)}</table>"


def _rows(operation: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", []):
        yield _row(parameter["name"], parameter["schema"], parameter.get("required", False))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = _resolved(content["schema"], schema)
        for name, field in body.get("properties", {}).items():
            yield _row(name, field, name in body.get("required", []))


def _row(name: str, field: dict[str, Any], is_required: bool) -> str:
    default = "required" if is_required else field.get("default", "")
    cells = (
        f"<code>{escape(name)}</code>",
        escape(_type(field)),
        escape(str(default)),
        escape(field.get("description", "")),
    )
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells)


def _type(field: dict[str, Any]) -> str:
    kinds = [part for part in field.get("anyOf", [field]) if part.get("type") != "null"]
    return " or ".join(_kind(kind) for kind in kinds)


def _kind(kind: dict[str, Any]) -> str:
    if "enum" in kind:
        return ", ".join(map(str, kind["enum"]))
    bounds = [f"{sign} {kind[key]:g}" for key, sign in SIGNS.items() if key in kind]
    return " ".join([kind.get("type") or kind["$ref"].rpartition("/")[2], *bounds])


def _resolved(kind: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in kind:
        return kind
    found: dict[str, Any] = schema["components"]["schemas"][kind["$ref"].rpartition("/")[2]]
    return found
