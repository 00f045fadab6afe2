# SPDX-License-Identifier: Apache-2.0
"""The fields of requests: their defaults, their limits, and which of them exclude each other."""

import pytest
from pydantic import ValidationError

from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.server.containers import FORMATS
from zipvoice.server.openapi_page import openapi_page
from zipvoice.server.schemas import WITHOUT_EFFECT, Batch, Dialogue, LiveSettings, Speech

MANNER = {
    "model": None,
    "response_format": "mp3",
    "stream_format": "audio",
    "stream": None,
    "speed": 1.0,
    "language": None,
    "seed": None,
    "num_steps": None,
    "guidance_scale": None,
    "t_shift": None,
    "temperature": None,
    "timeout_seconds": None,
}
VOICED = {**MANNER, "voice": None, "ref_audio": None, "ref_text": None}
NEEDED = {Speech: {"input": "a"}, LiveSettings: {}, Dialogue: {"turns": [{"text": "a"}]}, Batch: {"items": [{}]}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (Speech, {**VOICED, "input": "a", "duration": None, "word_timestamps": False}),
        (LiveSettings, {**VOICED, "response_format": "wav", "stream_audio": True}),
        (Dialogue, {**MANNER, "turns": [{"voice": None, "text": "a"}], "pause_between_turns": None}),
        (Batch, {"items": [{}]}),
    ],
)
def test_what_is_left_out_has_a_default(schema, expected):
    assert schema.model_validate(NEEDED[schema]).model_dump() == expected


@pytest.mark.parametrize("schema", [Speech, LiveSettings, Dialogue])
@pytest.mark.parametrize(
    ("field", "accepted", "refused"),
    [
        ("model", ["a", ""], [5]),
        ("response_format", FORMATS, ["au", "WAV", 5]),
        ("stream_format", ["audio", "sse"], ["ws"]),
        ("stream", [True, False], [0, "true"]),
        ("speed", [0.25, 4, 4.0], [0.249, 4.001, "1", True]),
        ("language", ["en"], [5]),
        ("seed", [0, 2**63 - 1], [-1, 2**63, 1.0]),
        ("num_steps", [1, 64], [0, 65, 4.0]),
        ("guidance_scale", [0, 10.0], [-0.01, 10.01]),
        ("t_shift", [0.001, 1.0], [0.0, 1.001]),
        ("temperature", [0.0, 1.0], [-0.001, 1.001]),
        ("timeout_seconds", [0.001, 1e9], [0.0, -1.0]),
    ],
)
def test_how_something_is_spoken_has_limits(schema, field, accepted, refused):
    check_limits(schema, field, accepted, refused)


@pytest.mark.parametrize(
    ("schema", "field", "accepted", "refused"),
    [
        (Speech, "input", ["a"], ["", 5]),
        (Speech, "duration", [0.001, 600], [0.0, 600.001]),
        (Speech, "word_timestamps", [False], [0, "no"]),
        (LiveSettings, "stream_audio", [True, False], [1]),
        (Dialogue, "pause_between_turns", [0, 10.0], [-0.001, 10.001]),
        (Dialogue, "turns", [[{"text": "a"}], [{"input": "a"}] * 200], [[], [{"text": "a"}] * 201, [{"text": ""}]]),
        (Batch, "items", [[{}], [{}] * 32], [[], [{}] * 33, [5]]),
    ],
)
def test_what_is_spoken_has_limits(schema, field, accepted, refused):
    check_limits(schema, field, accepted, refused)


def check_limits(schema, field, accepted, refused):
    for value in accepted:
        schema.model_validate({**NEEDED[schema], field: value})
    for value in refused:
        with pytest.raises(ValidationError) as caught:
            schema.model_validate({**NEEDED[schema], field: value})
        assert caught.value.errors()[0]["loc"][0] == field


def test_a_voice_is_a_name_or_an_object_with_it():
    for voice in ("low", {"id": "low"}):
        assert Speech(input="a", voice=voice).voice == "low"
    for voice in ({}, {"id": 5}, {"name": "low"}, {"id": "low", "name": "low"}, ["low"]):
        with pytest.raises(ValidationError, match="valid string"):
            Speech(input="a", voice=voice)


RECORDING, TEXT = {"ref_audio": "data:"}, {"ref_text": "b"}
TIMES = {"word_timestamps": True}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"voice": "low"}, None),
        ({**RECORDING, **TEXT}, None),
        ({**RECORDING, **TEXT, "voice": "low"}, "give a voice or ref_audio, not both"),
        ({**RECORDING}, "ref_audio and ref_text go together"),
        ({**TEXT}, "ref_audio and ref_text go together"),
        ({"duration": 2.0, "speed": 1}, None),
        ({"duration": 2.0, "speed": 0.5}, "duration replaces speed"),
        ({"duration": 2.0, "speed": 1.5}, "duration replaces speed"),
        ({**TIMES}, "word_timestamps are sent with stream false, or with"),
        ({**TIMES, "stream": True}, "word_timestamps are sent with stream false, or with"),
        ({**TIMES, "stream": False}, None),
        ({**TIMES, "stream_format": "sse"}, None),
        ({"sped": 1}, "unknown field 'sped'; did you mean 'speed'"),
        ({"x" * 100: 1}, f"unknown field '{'x' * 80}'"),
        ({"num_step": 4, "num_steps": 4}, "num_steps and num_step are names of one field; give one of them"),
    ],
)
def test_some_fields_exclude_each_other(fields, message):
    if message is None:
        Speech(input="a", **fields)
    else:
        with pytest.raises(ValidationError, match=message):
            Speech(input="a", **fields)


def test_fields_of_other_servers_are_named_in_order():
    assert Speech(input="a", **dict.fromkeys(["user", *WITHOUT_EFFECT], "x")).ignored == sorted(WITHOUT_EFFECT)
    assert Speech(input="a").ignored == []


def test_what_is_asked_for_reaches_the_synthesizer():
    manner = {"speed": 2.0, "seed": 0, "num_steps": 3, "guidance_scale": 0.0, "t_shift": 0.25, "temperature": 0.5}
    assert Dialogue(turns=[{"text": "a"}], **manner).options() == SynthesisOptions(**manner)
    assert Speech(input="a").options() == SynthesisOptions()
    speech = Speech(input="a", duration=3.0, word_timestamps=True, stream=False)
    assert speech.options() == SynthesisOptions(duration=3.0, word_times=True)


def test_an_item_of_a_batch_counts_more_than_what_stands_beside():
    items = [{}, {"input": "a", "num_step": 2, "seed": None}, {"speaker": "me"}]
    batch = Batch.model_validate({"items": items, "num_steps": 4, "seed": 7, "voice": "low"})
    assert batch.merged() == [
        {"num_steps": 4, "seed": 7, "voice": "low"},
        {"input": "a", "num_step": 2, "seed": 7, "voice": "low"},
        {"speaker": "me", "num_steps": 4, "seed": 7},
    ]
    assert Batch(items=[{"a": 1}]).merged() == [{"a": 1}]


# ---------------------------------------------------------------- the page for people

FIELDS = {
    "a<b": {"type": "integer", "minimum": 1, "exclusiveMaximum": 2.5, "default": 1, "description": "x & y"},
    "c": {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 600}, {"type": "null"}]},
    "d": {"enum": ["x", 5], "type": "string"},
    "e": {"anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/Turn"}]},
}
ROUTES = {
    "info": {"title": "T&T", "version": "1.0"},
    "components": {"schemas": {"Body": {"properties": FIELDS, "required": ["d"]}}},
    "paths": {
        "/v1/speak": {
            "post": {
                "description": "Speak <now>.",
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}},
            }
        },
        "/v1/{name}": {
            "get": {
                "parameters": [
                    {"name": "name", "schema": {"type": "string"}, "required": True},
                    {"name": "legacy", "schema": {"type": "boolean", "default": False}},
                ]
            },
            "delete": {},
        },
    },
}


def test_the_page_of_routes_is_made_of_their_description():
    head, *operations = openapi_page(ROUTES).split("<h2>")
    assert (
        head.startswith("<!doctype html>") and "<title>T&amp;T 1.0</title>" in head and "<h1>T&amp;T 1.0</h1>" in head
    )
    titles = "<table><tr><th>field<th>type<th>default<th>"
    assert operations == [
        "<code>POST /v1/speak</code></h2><p>Speak &lt;now&gt;.</p>" + titles + "<tr><td><code>a&lt;b</code>"
        "<td>integer ≥ 1 &lt; 2.5<td>1<td>x &amp; y<tr><td><code>c</code><td>number &gt; 0 ≤ 600<td><td>"
        "<tr><td><code>d</code><td>x, 5<td>required<td><tr><td><code>e</code><td>string or Turn<td><td></table>",
        "<code>GET /v1/{name}</code></h2><p></p>" + titles + "<tr><td><code>name</code><td>string<td>required<td>"
        "<tr><td><code>legacy</code><td>boolean<td>False<td></table>",
        "<code>DELETE /v1/{name}</code></h2><p></p>",
    ]
