# SPDX-License-Identifier: Apache-2.0
"""A server that has no room, ends, or fails: batches above all, of which a part may have been let in."""

import asyncio
from dataclasses import replace

import pytest
from server_app import QUICK, ask

from zipvoice.server import recordings, speech_routes
from zipvoice.server.app import build_app
from zipvoice.server.errors import ApiError, busy
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.schemas import Speech
from zipvoice.server.speaker import Speaker
from zipvoice.server.speech_job import SpeechRequest
from zipvoice.server.text_feed import TextFeed


def test_the_items_of_a_batch_wait_for_room(app, speaker, monkeypatch):
    """One place of two is taken: the items come one by one, and one that cannot be spoken is in nobody's way."""
    items = [{"input": "one.", "speed": 9}, *({"input": "one two three."} for _ in range(4))]
    body = {"items": items, "voice": "low", **QUICK}
    asked, submit = [], Scheduler.submit
    monkeypatch.setattr(Scheduler, "submit", lambda *given, **how: asked.append(how) or submit(*given, **how))
    before = speaker.scheduler.metrics()
    with speaker.scheduler.submit(_endless(speaker)):
        answer = ask(app, "POST", "/v1/audio/speech/batch", json=body).json()
    assert [result["status"] for result in answer["results"]] == ["error"] + ["success"] * 4
    after = speaker.scheduler.metrics()
    assert after.refused == before.refused and after.admitted == before.admitted + 5 < before.admitted + len(asked)


def test_what_waits_for_room_without_an_end_is_refused_once(speaker):
    hurried = replace(speaker, options=replace(speaker.options, request_seconds=0.1))
    before = speaker.scheduler.metrics().refused
    held = [speaker.scheduler.submit(_endless(speaker)) for _ in range(2)]
    try:
        with pytest.raises(ApiError, match="2 open requests"):
            asyncio.run(hurried.submit_later("one.", speaker.voices.get("low"), Speech(input="one."), ""))
    finally:
        for job in held:
            job.cancel()
    assert speaker.scheduler.metrics().refused == before + 1


def test_a_batch_that_finds_no_room_is_refused_as_a_whole(app, speaker):
    held = [speaker.scheduler.submit(_endless(speaker)) for _ in range(2)]
    body = {"items": [{"input": "one.", "speed": 9}, {"input": "one."}, {"input": "two."}], "voice": "low", **QUICK}
    try:
        answer = ask(app, "POST", "/v1/audio/speech/batch", json=body)
    finally:
        for job in held:
            job.cancel()
    assert answer.status_code == 429 and answer.json()["error"]["code"] == "busy" and answer.headers["retry-after"]
    assert speaker.scheduler.metrics().open == 0


def test_an_item_that_finds_no_room_later_is_an_error_of_its_own(app, monkeypatch):
    async def too_late(*_):
        raise busy("all places are taken", 1.0, "busy")

    monkeypatch.setattr(Speaker, "submit_later", too_late)
    body = {"items": [{"input": "one."}, {"input": "two."}], "voice": "low", **QUICK}
    answer = ask(app, "POST", "/v1/audio/speech/batch", json=body)
    assert answer.status_code == 200
    first, second = answer.json()["results"]
    assert (first["status"], second["status"], second["error"]["code"]) == ("success", "error", "busy")


def test_an_item_of_a_batch_says_what_it_says_by_any_name(app):
    items = [{"input": "one.", "voice": "nobody", "speaker": None}, {"input": "one.", "voice": None}, {"input": "one."}]
    body = {"items": items, "speaker": "low", "num_step": 1, "num_steps": None, "seed": 7}
    answer = ask(app, "POST", "/v1/audio/speech/batch", json=body).json()
    assert [result.get("error", {}).get("code") for result in answer["results"]] == ["voice_not_found", None, None]
    assert answer["results"][1]["audio_data"] == answer["results"][2]["audio_data"]


def test_the_sounds_of_a_batch_are_bounded_together(app, monkeypatch):
    monkeypatch.setattr(speech_routes, "MAX_BATCH_BYTES", 0)
    body = {"items": [{"input": "one."}] * 5, "voice": "low", **QUICK}
    answer = ask(app, "POST", "/v1/audio/speech/batch", json=body).json()
    codes = [result.get("error", {}).get("code") for result in answer["results"]]
    assert codes[0] is None and codes[2:] == ["too_large"] * 3


def test_recordings_that_wait_to_be_decoded_are_bounded(monkeypatch):
    async def slow(data, max_seconds):
        await asyncio.sleep(0.01)
        return data

    async def ask_all():
        decoders = recordings.Decoders()
        outcomes = await asyncio.gather(*(decoders.decode(b"", 1.0) for _ in range(40)), return_exceptions=True)
        return [*outcomes, await decoders.decode(b"later", 1.0)]

    monkeypatch.setattr(recordings, "decode", slow)
    outcomes = asyncio.run(ask_all())
    assert outcomes[: recordings.MOST_WAITING] == [b""] * recordings.MOST_WAITING
    *refused, later = outcomes[recordings.MOST_WAITING :]
    assert {(error.status_code, error.headers["Retry-After"]) for error in refused} == {(429, "16")}  # two at a time
    assert len(refused) == 8 and later == b"later"


def test_a_server_that_ends_says_so(speaker):
    with Scheduler(speaker.synthesizer) as scheduler:
        scheduler.drain(0)
        ending = build_app(replace(speaker, scheduler=scheduler))
        body = {"input": "one.", "voice": "low", **QUICK}
        for path, asked in (("/v1/audio/speech", body), ("/v1/audio/speech/batch", {"items": [body]})):
            answer = ask(ending, "POST", path, json=asked)
            assert answer.status_code == 503 and answer.headers["retry-after"]
            assert answer.json()["error"]["code"] == "shutting_down"


def test_a_model_of_nan_is_the_servers_failure(speaker, monkeypatch):
    monkeypatch.setattr(speaker.synthesizer, "mel", lambda trajectory: int("NaN"))
    for path, item in (("/v1/audio/speech", {}), ("/v1/audio/speech", {"stream_format": "sse"})):
        answer = ask(build_app(speaker), "POST", path, json={"input": "one.", "voice": "low", **QUICK, **item})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")


def _endless(speaker):
    return SpeechRequest(TextFeed(), speaker.voices.get("low"))
