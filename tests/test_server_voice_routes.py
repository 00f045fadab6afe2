# SPDX-License-Identifier: Apache-2.0
"""Routes for voices: what is listed, what an upload has to be, and what is told of one that was kept."""

import base64
from dataclasses import replace

import pytest
from server_app import ask
from tiny_models import tone

from zipvoice import builtin
from zipvoice.audio.files import encode
from zipvoice.server import recordings
from zipvoice.server.app import build_app
from zipvoice.server.voice_folders import folder_at
from zipvoice.server.voice_store import VoiceStore

ROUTE = "/v1/audio/voices"
RECORDING = encode(tone(0.5), ".wav")
FORM = {"consent": "I am the speaker", "name": "me", "ref_text": "a low tone"}


@pytest.fixture
def keeper(speaker, tmp_path, monkeypatch):
    """A server that keeps no voices yet, and takes recordings for what they are without a process for each."""

    async def decode(data, max_seconds):
        return tone(0.5)

    monkeypatch.setattr(recordings, "decode", decode)
    monkeypatch.setattr("zipvoice.server.voice_store.time.time", lambda: 1234.9)
    store = VoiceStore(folder_at(tmp_path), {"alloy": builtin.VOICE, "echo": "me"})
    options = replace(speaker.options, max_upload_bytes=len(RECORDING), max_characters=20)
    return replace(speaker, voices=store, options=options, decoders=recordings.Decoders())


def upload(keeper, recording=RECORDING, more=(), **fields):
    form = {name: value for name, value in {**FORM, **fields}.items() if value is not None}
    sample = [("audio_sample", ("x.exe", recording, "text/html"))] if recording is not None else []
    files = [*sample, *((name, (None, value)) for name, value in (*form.items(), *more))]
    return ask(build_app(keeper), "POST", ROUTE, files=files)


def test_a_voice_that_is_kept_is_told_and_listed(keeper):
    app = build_app(keeper)
    known = {
        "id": "me",
        "name": "me",
        "consent": "I am the speaker",
        "created_at": 1234,
        "file_size": len(RECORDING),
        "mime_type": "audio/wav",
        "ref_text": "a low tone",
    }
    assert upload(keeper, ref_text=" a low tone ").json() == {"success": True, "voice": known}
    known["speaker_description"] = "a pipe"
    assert upload(keeper, speaker_description="a pipe").json() == {"success": True, "voice": known}
    names = [builtin.VOICE, *(name for name in builtin.voices() if name != builtin.VOICE), "me", "alloy", "echo"]
    assert ask(app, "GET", f"{ROUTE}?legacy=true").json() == {"voices": names}
    assert ask(app, "GET", ROUTE).json() == {
        "voices": [{"id": name, "name": name, "uploaded": name == "me"} for name in names],
        "uploaded_voices": [known],
    }
    keeper.voices.get("me").save(keeper.voices.folder.path / "own.safetensors")  # as `zipvoice voice` does
    assert ask(app, "GET", ROUTE).json()["uploaded_voices"] == [known, {"id": "own", "name": "own"}]
    assert ask(app, "DELETE", f"{ROUTE}/me").json() == {"success": True, "message": "the voice 'me' is deleted"}
    for name, status, code in (("me", 404, "voice_not_found"), (builtin.VOICE, 403, "voice_is_fixed")):
        answer = ask(app, "DELETE", f"{ROUTE}/{name}")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (status, code, "name")


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"consent": "x" * 20, "speaker_description": "x" * 20, "ref_text": "a" * 20}, 200, None, None),
        ({"consent": "x" * 21}, 400, "text_too_long", "consent"),
        ({"speaker_description": "x" * 21}, 400, "text_too_long", "speaker_description"),
        ({"speaker_description": " "}, 400, "missing", "speaker_description"),
        ({"ref_text": "a" * 21}, 400, "text_too_long", "ref_text"),
        *(({"consent": word}, 400, "no_consent", "consent") for word in ("no", "No!", " FALSE. ", "0", "None")),
        *(({name: None}, 400, "missing", name) for name in FORM),
        ({"recording": None}, 400, "missing", "audio_sample"),
        ({"recording": RECORDING + b"x"}, 413, "too_large", "audio_sample"),
        ({"recording": b"<html>"}, 400, "unsupported_audio", None),
        ({"mood": "merry"}, 400, "unknown_field", "mood"),
        ({"x" * 100: "merry"}, 400, "unknown_field", "x" * 80),
        ({"more": [("name", "you")]}, 400, "given_twice", "name"),
        ({"name": "echo"}, 400, "voice_exists", "name"),
        ({"name": builtin.VOICE}, 400, "voice_exists", "name"),
        ({"name": "a/b"}, 400, "invalid_value", "name"),
    ],
)
def test_an_upload_has_its_limits(keeper, fields, status, code, param):
    answer = upload(keeper, **fields)
    error = answer.json().get("error", {})
    assert (answer.status_code, error.get("code"), error.get("param")) == (status, code, param)
    assert (keeper.voices.names()[-1] == "me") == (status == 200)


def test_an_upload_has_one_file_and_as_many_fields_as_there_are(keeper):
    assert upload(keeper, more=[(f"x{n}", "") for n in range(3)]).status_code == 400
    files = [("audio_sample", ("a", RECORDING)), ("audio_sample", ("b", RECORDING))]
    assert ask(build_app(keeper), "POST", ROUTE, files=files, data=FORM).json()["error"]["code"] == "bad_request"


def test_the_description_tells_what_an_upload_has(app):
    post = ask(app, "GET", "/openapi.json").json()["paths"][ROUTE]["post"]["requestBody"]
    schema = post["content"]["multipart/form-data"]["schema"]
    assert post["required"] and schema["required"] == ["audio_sample", *sorted(FORM)]
    assert schema["properties"] == {
        "audio_sample": {"type": "string", "format": "binary"},
        **{name: {"type": "string"} for name in (*FORM, "speaker_description")},
    }


def test_a_preview_is_a_sentence_in_the_voice(app, speaker, monkeypatch):
    asked, submit = [], type(speaker).speak

    async def speak(self, speech, key):
        asked.append((speech.input, speech.voice, speech.response_format, key))
        return await submit(self, speech.model_copy(update={"input": "one.", "num_steps": 1}), key)

    monkeypatch.setattr(type(speaker), "speak", speak)
    heard = [ask(app, "GET", f"{ROUTE}/low/preview{query}") for query in ("", "?response_format=wav")]
    assert [answer.headers["content-type"] for answer in heard] == ["audio/mpeg", "audio/wav"]
    sentence = "The quick brown fox jumps over the lazy dog."
    assert asked == [(sentence, "low", kind, "127.0.0.1") for kind in ("mp3", "wav")]
    assert heard[1].headers["x-model"] == "tiny" and heard[1].content[:4] == b"RIFF"
    refused = ask(app, "GET", f"{ROUTE}/low/preview?response_format=au").json()["error"]
    assert (refused["code"], refused["param"]) == ("literal_error", "response_format")


# ---------------------------------------------------------------- recordings


@pytest.mark.parametrize(
    ("beginning", "demuxer", "media_type"),
    [
        (b"RIFF\n\n\n\nWAVE", "wav", "audio/wav"),
        (b"fLaC", "flac", "audio/flac"),
        (b"OggS", "ogg", "audio/ogg"),
        (b"\x1aE\xdf\xa3", "matroska", "audio/webm"),
        (b"\n\n\n\nftyp", "mov", "audio/mp4"),
        *((bytes([255, byte]), "aac", "audio/aac") for byte in (0xF0, 0xF1, 0xF8, 0xF9)),
        *((bytes([255, byte]), "mp3", "audio/mpeg") for byte in (0xE2, 0xF2, 0xF7, 0xFA, 0xFF)),
        (b"ID3", "mp3", "audio/mpeg"),
        *((data, None, None) for data in (b"", b"RIFF\0\0\0\0AVI ", b" fLaC", b"\xff\xe1", b"#EXTM3U", b"RIFX")),
    ],
)
def test_a_recording_is_what_its_beginning_says(beginning, demuxer, media_type):
    if demuxer:
        assert recordings.demuxer_of(beginning + b"...") == demuxer
        assert recordings.media_type(beginning + b"...") == media_type
    else:
        with pytest.raises(recordings.ApiError, match="the recording is of no format that is taken: wav, mp3, flac"):
            recordings.demuxer_of(beginning)


@pytest.mark.parametrize(
    ("head", "is_taken"),
    [
        ("data:audio/wav;base64,", True),
        ("DATA:audio/x-wav;codecs=1;base64,", True),
        ("data:;base64,", True),
        ("data:audio/wav,", False),
        ("data:audio;base64,", False),
        ("http://a/b;base64,", False),
        (" data:audio/wav;base64,", False),
    ],
)
def test_a_recording_comes_in_a_data_url_alone(head, is_taken):
    url = head + base64.b64encode(b"abcd").decode()
    if is_taken:
        assert recordings.of_data_url(url, 4) == b"abcd"
        with pytest.raises(recordings.ApiError, match="x is not valid base64") as caught:
            recordings.of_data_url(f"{head}?", 4, "x")
        assert (caught.value.status_code, caught.value.param) == (400, "x")
    else:
        with pytest.raises(recordings.ApiError, match="x must be a data URL") as caught:
            recordings.of_data_url(url, 4, "x")
        assert (caught.value.status_code, caught.value.param) == (400, "x")


@pytest.mark.parametrize(("size", "is_taken"), [(2, True), (3, True), (4, True), (5, False), (6, False), (7, False)])
def test_the_size_of_a_recording_is_known_before_it_is_read(size, is_taken):
    """To the byte, however base64 fills it up."""
    url = "data:audio/wav;base64," + base64.b64encode(bytes(size)).decode()
    if is_taken:
        assert recordings.of_data_url(url, 4) == bytes(size)
    else:
        with pytest.raises(recordings.ApiError, match="ref_audio is larger than 4 bytes") as caught:
            recordings.of_data_url(url, 4)
        assert (caught.value.status_code, caught.value.code, caught.value.param) == (413, "too_large", "ref_audio")
