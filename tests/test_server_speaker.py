# SPDX-License-Identifier: Apache-2.0
"""From what a client asks for to what the scheduler is asked for, and what is checked on the way."""

import asyncio
import base64
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny_models import tone

from zipvoice.audio.files import encode
from zipvoice.config.server import ServerOptions
from zipvoice.server import recordings
from zipvoice.server import speaker as speaker_module
from zipvoice.server.admission import Busy, ShuttingDown
from zipvoice.server.errors import ApiError
from zipvoice.server.schemas import Dialogue, LiveSettings, Speech
from zipvoice.server.speech_job import Failed
from zipvoice.server.voice_store import recording_key


class Desk:
    """A scheduler that takes notes, and raises what it is told to before it says yes."""

    def __init__(self, *errors):
        self.errors, self.asked, self.refused = list(errors), [], 0

    def submit(self, request, *, goes_on):
        self.asked.append((request, goes_on))
        if self.errors:
            raise self.errors.pop(0)
        return "job"

    def refuse(self):
        self.refused += 1


@pytest.fixture
def desk(speaker):
    """The small server with a desk instead of a scheduler."""
    return replace(speaker, scheduler=Desk(), options=ServerOptions(request_seconds=30.0, max_characters=10))


def refusal(call, *given):
    """Status, code and field of what is refused."""
    with pytest.raises(ApiError) as caught:
        found = call(*given)
        if asyncio.iscoroutine(found):
            asyncio.run(found)
    return caught.value.status_code, caught.value.code, caught.value.param


@pytest.mark.parametrize(
    ("name", "header"), [("tiny", "tiny"), (" !#$&'()*+,/:;=?@[]", " !#$&'()*+,/:;=?@[]"), ('ö%"', "%C3%B6%25%22")]
)
def test_a_model_is_named_in_a_header(desk, name, header):
    assert replace(desk, model=name).headers == {"X-Model": header}


@pytest.mark.parametrize(
    ("fields", "stream", "seconds"),
    [
        ({}, True, 30.0),
        ({"stream": True}, True, 30.0),
        ({"stream": False}, False, 30.0),
        ({"duration": 2.0}, False, 30.0),
        ({"timeout_seconds": 29.0}, True, 29.0),
        ({"timeout_seconds": 31.0}, True, 30.0),
    ],
)
@pytest.mark.parametrize("goes_on", [True, False])
def test_what_is_asked_for_is_passed_on(desk, fields, stream, seconds, goes_on):
    speech = Speech(input="one two.", voice="low", num_steps=3, **fields)
    assert asyncio.run(desk.speak(speech, "key", goes_on=goes_on)) == "job"
    ((request, went_on),) = desk.scheduler.asked
    assert (request.text, request.prompt, request.key) == ("one two.", desk.voices.get("low"), "key")
    assert (request.options, request.stream) == (speech.options(), stream)
    assert (request.deadline_seconds, went_on) == (seconds, goes_on)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ValueError("no words"), 400, "invalid_text"),
        (Busy("full", 7.0), 429, "busy"),
        (ShuttingDown("ends", 7.0), 503, "shutting_down"),
        (Failed("NaN"), 500, "internal_error"),
    ],
)
def test_what_the_scheduler_says_is_told(desk, error, status, code):
    desk.scheduler.errors.append(error)
    assert refusal(desk.submit, "one.", None, Dialogue(turns=[{"text": "a"}]), "")[:2] == (status, code)


def test_what_goes_on_asks_again_until_its_time_is_over(desk, monkeypatch):
    """Each time after as many seconds as it was told."""
    now, slept, sleep = [100.0], [], asyncio.sleep

    async def asleep(seconds):
        slept.append(seconds)
        now[0] += seconds
        await sleep(0)

    monkeypatch.setattr(speaker_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(speaker_module, "asyncio", SimpleNamespace(sleep=asleep))

    def later(*errors):
        slept.clear()
        desk.scheduler.__init__(*errors)
        return desk.submit_later("one.", None, Dialogue(turns=[{"text": "a"}]), "")

    assert asyncio.run(later(Busy("full", 6.5), Busy("full", 2.0))) == "job"
    assert slept == [7.0, 2.0] and [went_on for _, went_on in desk.scheduler.asked] == [True] * 3
    assert refusal(later, *(Busy("full", 10.0) for _ in range(9)))[1] == "busy"
    assert slept == [10.0] * 4 and desk.scheduler.refused == 1  # at 30 s it may still come
    assert refusal(later, ShuttingDown("ends", 1.0))[1] == "shutting_down"
    assert slept == [] and desk.scheduler.refused == 0


def test_the_model_goes_by_its_name_or_one_of_openais(desk):
    for model in (None, "tiny", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"):
        desk.check(Speech(input="a", model=model))
    for model in ("", "tts-2"):
        assert refusal(desk.check, Speech(input="a", model=model)) == (404, "model_not_found", "model")
    with pytest.raises(ApiError, match=f"there is no model '{'x' * 80}'; this server has tiny$"):
        desk.check(Speech(input="a", model="x" * 100))


def test_texts_and_languages_are_checked(desk):
    desk.check_length("x" * 10)
    assert refusal(desk.check_length, "x" * 11) == (400, "text_too_long", "input")
    assert refusal(desk.check_length, "x" * 11, "turns") == (400, "text_too_long", "turns")
    with pytest.raises(ApiError, match="has 11 characters, more than the 10 that a request may have; send it in parts"):
        desk.check_length("x" * 11)
    desk.check_turns(["one.", "two."])
    assert refusal(desk.check_turns, ["one.", "ü"]) == (400, "invalid_text", "turns.1.text")
    for text, fields, param in (
        ("x" * 11, {}, "input"),
        ("a", {"voice": "nobody"}, "voice"),
        ("a", {"model": "b"}, "model"),
    ):
        assert refusal(desk.speak, Speech(input=text, **fields), "")[2] == param
    assert desk.scheduler.asked == []


def test_a_language_that_is_not_spoken_is_named(desk, monkeypatch):
    def check_language(language, config):
        raise ValueError(f"{language} is not spoken")

    monkeypatch.setattr(speaker_module, "check_language", check_language)
    assert refusal(desk.check, LiveSettings(language="tlh")) == (400, "invalid_value", "language")


def test_texts_are_written_to_the_log_where_that_was_asked_for(desk, caplog):
    loud = replace(desk, options=replace(desk.options, log_texts=True))
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        for each in (desk, loud):
            each.log_text("one.", None)
            each.log_text("two.", "low")
        asyncio.run(loud.speak(Speech(input="three.", voice="alloy"), ""))
    assert caplog.messages == ["- default voice: 'one.'", "- low: 'two.'", "- alloy: 'three.'"]


def test_a_recording_is_decoded_and_heard_once(desk, monkeypatch):
    decoded, made = [], []

    async def decode(data, max_seconds):
        decoded.append((data, max_seconds))
        return tone(0.5)

    def prompt(audio, text, check):
        made.append((text, check))
        if text == "bad":
            raise ValueError("it is silent")
        return f"prompt of {text}"

    monkeypatch.setattr(recordings, "decode", decode)
    monkeypatch.setattr(desk.synthesizer, "prompt", prompt)
    data = encode(tone(0.5), ".wav")
    url = f"data:audio/wav;base64,{base64.b64encode(data).decode()}"
    for text in ("a", "b", "a"):
        given = {"ref_audio": url, "ref_text": text}
        assert asyncio.run(desk.prompt_of(LiveSettings(**given))) == f"prompt of {text}"
    assert decoded == [(data, 60.0)] * 2 and made == [("a", False), ("b", False)]
    assert desk.voices.remembered(recording_key(data, "a")) == "prompt of a"
    assert refusal(desk.prompt, data, "bad") == (400, "unusable_recording", "ref_audio")
    assert refusal(desk.prompt, data, "x" * 11) == (400, "text_too_long", "ref_text")
    assert refusal(desk.prompt_of, LiveSettings(ref_audio="a", ref_text="b")) == (400, "invalid_value", "ref_audio")
