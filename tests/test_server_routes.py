# SPDX-License-Identifier: Apache-2.0
"""What routes answer: heads, bodies and counts, to the letter."""

import asyncio
import base64
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from server_app import QUICK, Job, ask
from tiny_models import tone

from zipvoice.audio.words import Word
from zipvoice.server import service_routes, speech_routes
from zipvoice.server.app import build_app
from zipvoice.server.containers import whole_file
from zipvoice.server.errors import ApiError
from zipvoice.server.speaker import Speaker

BODY = {**QUICK, "voice": "low", "input": "one two."}
SOUND = replace(tone(0.5), words=(Word("one", 0.0, 0.25),))


@pytest.fixture
def spoken(monkeypatch):
    """Has `speak` give jobs of these parts, or raise these errors, and takes notes of what it was asked for."""

    def give(*outcomes):
        left, asked, jobs = list(outcomes), [], []

        async def speak(self, speech, key, *, goes_on=False):
            asked.append((speech, key, goes_on))
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            jobs.append(Job(*outcome))
            return jobs[-1]

        monkeypatch.setattr(Speaker, "speak", speak)
        return asked, jobs

    return give


TIMES = [{"word": "one", "start_ms": 0, "end_ms": 250}]
USAGE = {"input_tokens": 3, "output_tokens": 50, "total_tokens": 53}


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"stream": False}, {"stream": False, "stream_format": "sse"}])
def test_speech_comes_as_it_is_made_or_as_a_whole_or_in_events(app, spoken, fields):
    asked, jobs = spoken([SOUND])
    answer = ask(app, "POST", "/v1/audio/speech", json={**BODY, "response_format": "wav", **fields})
    is_whole, is_told = fields == {"stream": False}, "stream_format" in fields
    assert (answer.status_code, answer.headers["x-model"]) == (200, "tiny") and "x-ignored-fields" not in answer.headers
    assert answer.headers["content-type"].partition(";")[0] == ("text/event-stream" if is_told else "audio/wav")
    assert ("content-length" in answer.headers) == is_whole == ("x-word-timestamps" in answer.headers)
    if is_told:
        events = [json.loads(block.partition("\ndata: ")[2]) for block in answer.text.strip().split("\n\n")]
        assert events[-1] == {"type": "speech.audio.done", "usage": USAGE, "word_timestamps": TIMES}
        data = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    else:
        data = answer.content
    assert data[44:] == whole_file("pcm", SOUND)
    ((speech, key, goes_on),), (job,) = asked, jobs
    assert (speech.input, key, goes_on, job.ended) == ("one two.", "127.0.0.1", False, 1)


def test_fields_without_effect_are_named_in_order(app, spoken):
    spoken([SOUND])
    answer = ask(app, "POST", "/v1/audio/speech", json={**BODY, "user": "me", "instructions": "merrily"})
    assert answer.headers["x-ignored-fields"] == "instructions, user"


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"stream_format": "sse"}])
def test_speech_that_fails_at_once_is_an_error_and_given_up(app, spoken, fields):
    _, jobs = spoken([ValueError("no words")])
    answer = ask(app, "POST", "/v1/audio/speech", json={**BODY, **fields})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_text")
    assert jobs[0].ended == 1


# ---------------------------------------------------------------- batch


def batch(app, *items, **fields):
    return ask(app, "POST", "/v1/audio/speech/batch", json={"items": items, "response_format": "pcm", **fields})


def test_a_batch_tells_of_each_item_in_its_order(app, spoken):
    bare = replace(SOUND, words=())
    asked, jobs = spoken(
        [SOUND], ApiError(404, "no voice", "voice_not_found", "voice"), [ValueError("no words")], [bare]
    )
    events = {"input": "sse.", "stream_format": "sse"}
    items = ({"input": "one.", "stream": True, "response_format": "wav"}, *({"input": text} for text in "abc"), events)
    answer = batch(app, *items).json()
    assert re.fullmatch("batch-[0-9a-f]{32}", answer.pop("id"))
    wav, pcm = (base64.b64encode(whole_file(name, SOUND)).decode() for name in ("wav", "pcm"))
    results = answer.pop("results")
    assert answer == {"total": 5, "succeeded": 2, "failed": 3}
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4]
    good = {"status": "success", "usage": USAGE}
    assert results[0] == {"index": 0, **good, "audio_data": wav, "media_type": "audio/wav", "word_timestamps": TIMES}
    assert results[3] == {"index": 3, **good, "audio_data": pcm, "media_type": "audio/pcm"}
    told = [(results[n]["status"], results[n]["error"]["code"], results[n]["error"]["param"]) for n in (1, 2, 4)]
    codes = [("voice_not_found", "voice"), ("invalid_text", "input"), ("invalid_value", "stream_format")]
    assert told == [("error", *code) for code in codes]
    assert all(speech.stream is False for speech, *_ in asked) and [job.ended for job in jobs] == [1, 1, 1]
    assert [goes_on for *_, goes_on in asked] == [False, True, True, True]  # the first one opened the door


@pytest.mark.parametrize(("status", "is_refused"), [(429, True), (503, True), (408, False)])
def test_a_batch_is_refused_while_nothing_of_it_was_let_in(app, spoken, status, is_refused):
    error = ApiError(status, "not now", "busy", headers={"Retry-After": "7"})
    spoken(error, error)
    answer = batch(app, {"input": "a"}, {"input": "b"})
    assert answer.status_code == (status if is_refused else 200)
    assert answer.headers.get("retry-after") == ("7" if is_refused else None)
    spoken([SOUND], error)
    answer = batch(app, {"input": "a"}, {"input": "b"})
    assert [result["status"] for result in answer.json()["results"]] == ["success", "error"]


@pytest.mark.parametrize(("less", "codes"), [(0, [None] * 3), (1, [None, None, "too_large"])])
def test_the_sounds_of_a_batch_are_bounded_to_the_byte(app, spoken, monkeypatch, less, codes):
    """Here items are begun one at a time."""
    monkeypatch.setattr(speech_routes, "MAX_BATCH_BYTES", 2 * len(whole_file("pcm", SOUND)) - less)
    monkeypatch.setattr(speech_routes.dialogues, "IN_FLIGHT", 1)
    spoken([SOUND], [SOUND], [SOUND])
    results = batch(app, *({"input": "a"} for _ in range(3))).json()["results"]
    assert [result.get("error", {}).get("code") for result in results] == codes


def test_so_many_items_of_a_batch_are_spoken_at_a_time(app, monkeypatch):
    going, most = [], []

    async def item(item, speaker, key, door):
        going.append(item)
        most.append(len(going))
        await asyncio.sleep(0)
        going.remove(item)
        return {}

    monkeypatch.setattr(speech_routes, "_item", item)
    assert batch(app, *({"input": str(n)} for n in range(5))).json()["succeeded"] == 5
    assert max(most) == 2


# ---------------------------------------------------------------- dialogue


def test_the_turns_of_a_dialogue_are_checked_together(app, speaker):
    def refusal(*turns, **fields):
        answer = ask(careful, "POST", "/v1/audio/dialogue", json={**QUICK, "turns": turns, **fields})
        return answer.json().get("error", {}).get("code"), answer.json().get("error", {}).get("param")

    careful = build_app(replace(speaker, options=replace(speaker.options, max_characters=8)))
    assert refusal({"text": "one "}, {"text": "two. "}) == ("text_too_long", "turns")
    assert refusal({"text": "one."}, {"text": "ü"}) == ("invalid_text", "turns.1.text")
    assert refusal({"text": "one."}, model="tts-9") == ("model_not_found", "model")
    assert refusal({"text": "one.", "voice": "nobody"}) == ("voice_not_found", "voice")
    answer = ask(careful, "POST", "/v1/audio/dialogue", json={**QUICK, "turns": [{"text": "one."}, {"text": "two."}]})
    assert answer.status_code == 200 and answer.headers["x-model"] == "tiny"


# ---------------------------------------------------------------- the server


def test_the_model_is_told_by_its_name(app, monkeypatch):
    monkeypatch.setattr(service_routes, "STARTED", 1234)
    known = {"id": "tiny", "object": "model", "created": 1234, "owned_by": "zipvoice", "variant": "zipvoice"}
    assert ask(app, "GET", "/v1/models").json() == {"object": "list", "data": [known]}
    assert ask(app, "GET", "/v1/models/tiny").json() == known
    answer = ask(app, "GET", f"/v1/models/{'x' * 100}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert error["message"] == f"there is no model '{'x' * 80}'; this server has tiny"


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "text/html"), ("/app.css", "text/css"), ("/app.js", "text/javascript")]
)
@pytest.mark.parametrize("origins", [(), ("https://home.example",)])
def test_the_page_loads_nothing_from_elsewhere_and_is_framed_by_who_may_use_the_server(speaker, path, kind, origins):
    app = build_app(replace(speaker, options=replace(speaker.options, allow_origin=origins)))
    answer = ask(app, "GET", path)
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-security-policy"] == (
        "default-src 'self'; media-src 'self' blob: data:; img-src 'self' blob: data:; base-uri 'none'; "
        + " ".join(("frame-ancestors 'self'", *origins))
    )


def test_counts_are_of_the_scheduler_and_of_the_loop(speaker, monkeypatch):
    told = []
    monkeypatch.setattr(service_routes, "exposition", lambda counts, tasks: told.append((counts, tasks)) or b"counts")
    app = build_app(replace(speaker, scheduler=SimpleNamespace(metrics=lambda: "metrics")))
    answer = ask(app, "GET", "/metrics")
    assert answer.content == b"counts" and answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    ((counts, num_tasks),) = told
    assert counts == "metrics" and num_tasks >= 1
