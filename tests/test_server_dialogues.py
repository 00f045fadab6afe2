# SPDX-License-Identifier: Apache-2.0
"""Dialogues through the server, by a model of two voices; and voices in a storage that machines share."""

import asyncio
import json
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import fsspec
import httpx
import numpy as np
import pytest
from tiny_models import FAST, make_synthesizer, tone

from zipvoice.audio.files import pcm16
from zipvoice.config.server import ServerOptions
from zipvoice.config.strict_json import to_dict
from zipvoice.server import dialogues, storage, voice_store
from zipvoice.server.app import build_app
from zipvoice.server.errors import ApiError
from zipvoice.server.request_log import request_id
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.schemas import Dialogue
from zipvoice.server.speaker import Speaker
from zipvoice.server.voice_folders import folder_at
from zipvoice.server.voice_store import VoiceStore, details_of

LOW, HIGH = tone(0.6, hertz=150), tone(0.5, hertz=330)
TURNS = [{"voice": "low", "text": "one two."}, {"voice": "high", "text": "three."}, {"voice": "low", "text": "four."}]


def store_at(where) -> VoiceStore:
    return VoiceStore(folder_at(where))


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return make_synthesizer(tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="module", params=["zipvoice_dialog", "zipvoice_dialog_stereo"])
def speaker(request, single, tmp_path_factory):
    """A server of a dialogue model, with two voices of one speaker each."""
    synthesizer = make_synthesizer(tmp_path_factory.mktemp("dialog"), request.param)
    store = store_at(tmp_path_factory.mktemp("voices"))
    for name, sound in (("low", LOW), ("high", HIGH)):
        store.add(name, single.prompt(sound, f"a {name} tone"), details_of(b"", "audio/wav", "yes", name, None))
    with Scheduler(synthesizer) as scheduler:
        yield Speaker(synthesizer, scheduler, store, "модель", ServerOptions())


def ask(speaker, path, **body):
    async def asked():
        transport = httpx.ASGITransport(build_app(speaker))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            fields = {"num_steps": 2, "guidance_scale": 1.0, "seed": 7, "response_format": "pcm"}
            return await client.post(path, json={**fields, **body})

    return asyncio.run(asked())


def test_the_next_turn_is_made_while_one_is_heard():
    """Turns of two parts each, with pauses of 0.25 s between them."""
    asked, jobs = [], []

    async def spoken():
        for _ in range(2):
            yield tone(0.5)

    def submit(text, *_):
        asked.append(text)
        return spoken()

    async def later(*given):
        return submit(*given)

    async def heard():
        body = Dialogue(turns=[{"text": text} for text in "abc"], pause_between_turns=0.25)
        speaker = SimpleNamespace(submit=submit, submit_later=later)
        parts = dialogues.one_by_one(body, [None] * 3, speaker, "", jobs)
        return [("".join(asked), part.seconds) async for part in parts]

    assert asyncio.run(heard()) == [
        *(("ab", seconds) for seconds in (0.5, 0.5, 0.25)),
        *(("abc", seconds) for seconds in (0.5, 0.5, 0.25, 0.5, 0.5)),
    ]


@pytest.mark.parametrize(("asked", "pause"), [(None, 0.3), (0.0, 0.0), (0.25, 0.25)])
def test_there_is_silence_between_turns_and_not_behind_the_last(asked, pause):
    async def spoken():
        yield tone(0.5, rate=16000, channels=2)

    async def heard():
        body = Dialogue(turns=[{"text": text} for text in "ab"], pause_between_turns=asked)
        speaker = SimpleNamespace(submit=submit, submit_later=submit_later)
        return [part async for part in dialogues.one_by_one(body, ["A", "B"], speaker, "key", [])]

    def submit(*given):
        calls.append(("submit", *given[:2], given[3]))
        return spoken()

    async def submit_later(*given):
        calls.append(("later", *given[:2], given[3]))
        return spoken()

    calls = []
    first, silence, second = asyncio.run(heard())
    assert calls == [("submit", "a", "A", "key"), ("later", "b", "B", "key")]
    assert silence.samples.shape == (2, round(16000 * pause)) and silence.sampling_rate == 16000
    assert not silence.samples.any() and first.num_samples == second.num_samples == 8000


@pytest.mark.parametrize(
    ("turns", "voices", "text"),
    [
        ("a", ("A", "A"), "[S1] one"),
        ("ab", ("A", "B"), "[S1] one [S2] two"),
        ("baab", ("B", "A"), "[S1] one [S2] two [S2] three [S1] four"),
        ("abc", None, "this model speaks dialogues of two voices, not of 3"),
    ],
)
def test_a_dialogue_is_one_text_of_one_or_two_voices(turns, voices, text):
    words = ("one", "two", "three", "four")
    body = Dialogue(turns=[{"voice": name, "text": word} for name, word in zip(turns, words, strict=False)])
    synthesizer = SimpleNamespace(dialog_of=lambda *given: given)
    speaker = SimpleNamespace(synthesizer=synthesizer, submit=lambda *given: given)
    by_turn = [turn.upper() for turn in turns]
    if voices:
        assert dialogues.in_one(body, by_turn, speaker, "key") == (text, voices, body, "key")
    else:
        with pytest.raises(ApiError, match=text) as refused:
            dialogues.in_one(body, by_turn, speaker, "key")
        assert (refused.value.code, refused.value.param) == ("too_many_voices", "turns")


def test_voices_that_make_no_dialogue_are_told():
    def dialog_of(*voices):
        raise ValueError("they are of two rates")

    body = Dialogue(turns=[{"text": "one."}, {"text": "two [S1]."}])
    speaker = SimpleNamespace(synthesizer=SimpleNamespace(dialog_of=dialog_of))
    with pytest.raises(ApiError) as tagged:
        dialogues.in_one(body, ["A", "A"], speaker, "")
    with pytest.raises(ApiError, match="they are of two rates") as unusable:
        dialogues.in_one(Dialogue(turns=[{"text": "one."}]), ["A"], speaker, "")
    found = [(error.value.code, error.value.param) for error in (tagged, unusable)]
    assert found == [("invalid_value", "turns.1.text"), ("unusable_voice", "turns")]


def test_a_dialogue_model_speaks_all_turns_as_one(speaker):
    answer = ask(speaker, "/v1/audio/dialogue", turns=TURNS)
    assert answer.status_code == 200, answer.text
    synthesizer, voices = speaker.synthesizer, speaker.voices
    prompt = synthesizer.dialog_of(voices.get("low"), voices.get("high"))
    text = "[S1] one two. [S2] three. [S1] four."
    parts = synthesizer.stream(text, prompt, replace(FAST, num_steps=2, guidance_scale=1.0, seed=7))
    expected = np.concatenate([pcm16(part).astype("<i2").ravel() for part in parts])
    np.testing.assert_allclose(np.frombuffer(answer.content, "<i2"), expected, atol=4)
    assert answer.headers["x-model"].startswith("%D0%BC")  # headers know no Cyrillic


def test_the_voices_of_a_dialogue_are_those_of_its_recordings(speaker):
    synthesizer, voices = speaker.synthesizer, speaker.voices
    made = synthesizer.dialog_of(voices.get("low"), voices.get("high"))
    heard = synthesizer.dialog_prompt([LOW, HIGH], ["a low tone", "a high tone"])
    assert made.text == heard.text and made.tokens == heard.tokens
    assert made.features.shape[1] == heard.features.shape[1]
    np.testing.assert_allclose(made.features[:40], heard.features[:40], atol=0.1)


@pytest.mark.parametrize(
    ("turns", "code"),
    [
        ([{"text": "one [S2] two."}], "invalid_value"),
        ([*TURNS, {"voice": "heart", "text": "five."}], "too_many_voices"),
        ([{"voice": "nobody", "text": "five."}], "voice_not_found"),
    ],
)
def test_what_a_dialogue_model_cannot_speak_is_named(speaker, turns, code):
    assert ask(speaker, "/v1/audio/dialogue", turns=turns).json()["error"]["code"] == code


@pytest.mark.parametrize("transcript", ["a low tone", "[S1] a low tone", "[S2] a low tone"])
def test_one_voice_cannot_speak_a_text_by_a_dialogue_model(speaker, monkeypatch, transcript):
    async def voice(self, name):
        return SimpleNamespace(text=transcript)

    monkeypatch.setattr(type(speaker), "voice", voice)
    error = ask(speaker, "/v1/audio/speech", input="[S1] one. [S2] two.", voice="low").json()["error"]
    assert error["code"] == "one_speaker" and "/v1/audio/dialogue" in error["message"]


# ---------------------------------------------------------------- shared voices


@pytest.fixture
def shared():
    yield "memory://voices"
    fsspec.filesystem("memory").store.clear()


def test_machines_that_share_a_storage_share_their_voices(single, shared):
    here, there = store_at(shared), store_at(shared)
    assert here.uploaded() == {}
    prompt, other = single.prompt(LOW, "a low tone"), single.prompt(HIGH, "a high tone")
    details = details_of(b"abc", "audio/wav", "yes", "a low tone", None)
    here.add("me", prompt, details)
    assert there.uploaded() == {"me": details} and "me" in there.names()
    np.testing.assert_array_equal(there.get("me").features, prompt.features)
    here.add("me", other, details)
    np.testing.assert_array_equal(there.get("me").features, other.features)
    there.remove("me")
    with pytest.raises(ApiError, match="there is no voice 'me'"):
        here.get("me")
    assert fsspec.filesystem("memory").find("/voices") == []


@pytest.mark.parametrize("head_bytes", [1 << 14, 64])
def test_a_voice_written_by_two_at_once_is_wholly_that_of_one(single, tmp_path, monkeypatch, head_bytes):
    """Whichever file is there last: what is known of the speaker is in it, however long its head is."""
    monkeypatch.setattr(voice_store, "HEAD_BYTES", head_bytes)
    first, second = store_at(tmp_path), store_at(tmp_path)
    one, two = (details_of(b"", "audio/wav", f"{name} agrees", "a tone", None) for name in ("Ann", "Zoë"))
    first.add("me", single.prompt(LOW, "a low tone"), one)
    file = tmp_path / "me.safetensors"
    before = file.read_bytes()
    second.add("me", single.prompt(HIGH, "a high tone"), two)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert first.uploaded() == second.uploaded() == {"me": two} and first.get("me").text == "a high tone"
    assert "Zoë agrees".encode() in file.read_bytes()
    file.write_bytes(before)
    assert first.uploaded() == second.uploaded() == {"me": one} and second.get("me").text == "a low tone"


def test_what_was_known_of_a_voice_beside_its_file_still_is(single, tmp_path):
    store, prompt = store_at(tmp_path), single.prompt(LOW, "a low tone")
    old, new = (details_of(b"", "audio/wav", consent, "a low tone", None) for consent in ("once", "now"))
    for name in ("old", "bare"):
        prompt.save(tmp_path / f"{name}.safetensors")
    (tmp_path / "old.json").write_text(json.dumps(to_dict(old)))
    (tmp_path / "damaged.safetensors").write_bytes(b"nonsense")
    assert store.uploaded() == {"bare": None, "damaged": None, "old": old}
    store.add("old", prompt, new)
    assert store.uploaded()["old"] == new and not (tmp_path / "old.json").exists()


@pytest.mark.parametrize("where", ["memory://voices", "folder"])
def test_voices_are_listed_again_without_being_read_again(single, shared, tmp_path, monkeypatch, where):
    store, read = store_at(shared if where == shared else tmp_path), []
    beginnings = store.folder.beginnings
    monkeypatch.setattr(store.folder, "beginnings", lambda names, size: read.extend(names) or beginnings(names, size))
    prompt, details = single.prompt(LOW, "a low tone"), details_of(b"", "audio/wav", "yes", "a low tone", None)
    for name in ("one", "two"):
        store.add(name, prompt, details)
    assert store.uploaded() == store.uploaded() == {"one": details, "two": details}
    store.add("two", prompt, details)
    assert store.uploaded() == {"one": details, "two": details}
    assert read == ["one.safetensors", "two.safetensors", "two.safetensors"]
    assert store.folder.beginnings(["gone"], 8) == [b""] and store.folder.versions(["gone"]) == {}


def test_a_storage_that_hangs_is_told_and_holds_up_nothing_else(single, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "LONGEST_SECONDS", 0.05)
    store, go_on = store_at(tmp_path), threading.Event()
    monkeypatch.setattr(store.folder, "names", lambda: go_on.wait(60) and [])
    speaker = Speaker(single, None, store, "tiny", ServerOptions())

    async def asked():
        transport = httpx.ASGITransport(build_app(speaker))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            hung = await asyncio.gather(*(client.get("/v1/audio/voices") for _ in range(20)))
            assert {answer.status_code for answer in hung} == {503} and hung[0].headers["retry-after"]
            assert hung[0].json()["error"]["code"] == "storage_unavailable"
            assert await asyncio.to_thread(len, "codec") == 5
            more = (speaker.storage.read(len, "") for _ in range(storage.MOST_WAITING))
            refused = await asyncio.gather(*more, return_exceptions=True)
            assert {error.code for error in refused} == {"storage_unavailable"}
            monkeypatch.setattr(storage, "LONGEST_SECONDS", 60.0)
            with pytest.raises(ApiError, match="has not answered"):  # at once: too many wait
                await speaker.storage.read(len, "")
            go_on.set()
            while speaker.storage._calls.qsize():
                await asyncio.sleep(0.01)
            assert (await client.get("/v1/audio/voices")).status_code == 200

    asyncio.run(asyncio.wait_for(asked(), 30))
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "zipvoice-storage")


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied", "/voices"), TimeoutError("too slow")])
def test_a_storage_that_fails_is_told_in_a_line_without_its_place(caplog, error):
    def fail():
        raise error

    with pytest.raises(ApiError) as caught:
        asyncio.run(storage.Storage().read(fail))
    assert (caught.value.status_code, caught.value.code) == (503, "storage_unavailable")
    assert storage._silent().headers == {"Retry-After": "10"}
    assert "/voices" not in caught.value.message and "Traceback" not in caplog.text


def test_a_call_of_a_storage_belongs_to_the_request_that_makes_it():
    async def asked():
        request_id.set("mine")
        calls = storage.Storage()
        return await calls.read(request_id.get), await calls.write(lambda *given: (request_id.get(), *given), 1, 2)

    assert asyncio.run(asked()) == ("mine", ("mine", 1, 2))


def test_voices_are_written_one_at_a_time():
    calls, going, most = storage.Storage(), [], []

    def write(number):
        going.append(number)
        most.append(len(going))
        time.sleep(0.01)
        going.remove(number)

    async def written():
        await asyncio.gather(*(calls.write(write, number) for number in range(5)))

    asyncio.run(written())
    assert most == [1] * 5


def test_nobody_who_speaks_waits_for_a_storage_that_writes(single, tmp_path):
    store, writes, go_on = store_at(tmp_path), threading.Event(), threading.Event()
    plain = store.folder.writing

    def slow(name):
        writes.set()
        assert go_on.wait(60)
        return plain(name)

    store.folder.writing = slow
    prompt = store.get(None)
    details = details_of(b"", "audio/wav", "yes", "a low tone", None)
    adding = threading.Thread(target=store.add, args=("me", prompt, details))
    adding.start()
    assert writes.wait(60)
    heard = []
    hearing = threading.Thread(target=lambda: heard.append(store.get(None)))
    hearing.start()
    hearing.join(20)
    go_on.set()
    adding.join()
    assert heard == [prompt] and store.get("me").text == prompt.text


def test_a_damaged_voice_is_named_without_its_place(tmp_path, caplog):
    store = store_at(f"file://{tmp_path}")
    (tmp_path / "me.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ApiError, match="the voice 'me' is damaged") as caught:
        store.get("me")
    assert caught.value.status_code == 500 and str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("name", ["../me", ".me", "me/../me", "a\\me", "C:me", "me\n", "", "a" * 244, "字" * 82])
@pytest.mark.parametrize("where", ["memory://voices", "folder"])
def test_a_voice_is_no_path_and_no_name_of_which_there_is_no_file(single, shared, tmp_path, where, name):
    store = store_at(shared if where == shared else tmp_path / "voices")
    prompt, details = single.prompt(LOW, "a low tone"), details_of(b"", "audio/wav", "yes", "a low tone", None)
    store.add("me", prompt, details)
    prompt.save(tmp_path / "me.safetensors")
    with pytest.raises(ApiError, match="there is no voice"):
        store.get(name)
    if where == "folder":
        prompt.save(tmp_path / "voices" / "my own.safetensors")
        assert store.get("my own").text == prompt.text


def test_a_name_is_found_however_it_is_written(single, tmp_path):
    store = store_at(tmp_path)
    store.add("cafe\u0301", single.prompt(LOW, "a low tone"), details_of(b"", "audio/wav", "yes", "a", None))
    assert store.get("caf\u00e9") is store.get("cafe\u0301")
    store.remove("cafe\u0301")
    assert list(tmp_path.iterdir()) == []
