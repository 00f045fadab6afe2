# SPDX-License-Identifier: Apache-2.0
"""The speech server from outside: a real process, the clients that people use."""

import base64
import io
import json
import re
import time

import av
import httpx
import numpy as np
import openai
import pytest
from server_process import HELLO
from tiny_models import tone

from zipvoice.audio.files import decode, encode
from zipvoice.server.containers import FORMATS

FAST = {"num_steps": 1, "seed": 7}
LONG = "The quick brown fox jumps over the lazy dog, and nobody knows why it should do so again and again. " * 8


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=120)


def speak(http, text=HELLO, **fields):
    return http.post("/v1/audio/speech", json={"input": text, "response_format": "wav", **FAST, **fields})


def samples(data: bytes) -> np.ndarray:
    """The sound of any file, one channel at 24 kHz, as FFmpeg decodes it."""
    resampler, parts = av.AudioResampler(format="flt", layout="mono", rate=24000), []
    with av.open(io.BytesIO(data)) as file:
        for frame in [*file.decode(audio=0), None]:
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    return np.concatenate(parts)


def metric(http, name: str) -> float:
    return float(re.search(rf"^zipvoice_{name} (\S+)", http.get("/metrics").text, re.MULTILINE)[1])


def wait_until(condition, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


# ---------------------------------------------------------------- sound


@pytest.fixture(scope="module")
def wav(http):
    return speak(http).content


DELAYS = {"mp3": 1105, "aac": 1024}
"""Samples that come before the sound in what these decoders give."""
FRAMES = {"mp3": 576, "aac": 1024}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_the_whole_sound(http, wav, name):
    answer = speak(http, response_format=name)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"audio/{'mpeg' if name == 'mp3' else name}"
    expected = np.frombuffer(wav[44:], "<i2") / np.float32(32768)
    if name == "pcm":
        assert answer.content == wav[44:]
        return
    found = samples(answer.content)
    delay = DELAYS.get(name, 0)
    padding = len(found) - delay - len(expected)
    assert 0 <= padding <= (2 * FRAMES[name] if delay else 0)
    found = found[delay : delay + len(expected)]
    if name in ("wav", "flac"):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    else:
        end = slice(len(found) // 2, None)  # speech of one step is noisy, which Opus keeps least
        assert np.corrcoef(found[end], expected[end])[0, 1] > 0.85


def test_a_seed_gives_a_sound_and_another_gives_another(http, wav):
    assert speak(http).content == wav
    assert speak(http, seed=8).content != wav


def test_a_whole_answer_tells_its_length(http, wav):
    for name in ("wav", "flac"):
        answer = speak(http, response_format=name, stream=False)
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert decode(answer.content).num_samples == (len(wav) - 44) // 2


def test_duration_is_kept_to_the_sample(http):
    assert decode(speak(http, duration=1.5).content).num_samples == 36000


def test_sound_is_sent_while_it_is_made(http):
    with http.stream(
        "POST", "/v1/audio/speech", json={"input": LONG[:200], "response_format": "opus", **FAST}
    ) as answer:
        chunks = answer.iter_raw()
        first = next(chunks)
        assert metric(http, "open") >= 1
        whole = first + b"".join(chunks)
    assert first.startswith(b"OggS") and 0 < len(samples(first)) < len(samples(whole))


def test_a_client_that_leaves_ends_its_request(http):
    before = metric(http, "cancelled_total")
    with http.stream("POST", "/v1/audio/speech", json={"input": LONG, "response_format": "pcm", "seed": 7}) as answer:
        next(answer.iter_raw())
    wait_until(lambda: metric(http, "open") == 0)
    assert metric(http, "cancelled_total") == before + 1


def test_a_client_that_leaves_before_the_first_sound_ends_its_request(http):
    before = metric(http, "cancelled_total")
    with pytest.raises(httpx.ReadTimeout):
        http.post("/v1/audio/speech", json={"input": LONG, "stream": False, "num_steps": 64}, timeout=0.5)
    wait_until(lambda: metric(http, "open") == 0)
    assert metric(http, "cancelled_total") == before + 1


# ---------------------------------------------------------------- OpenAI's client, Open WebUI


def test_openai_speaks(client, wav):
    answer = client.audio.speech.create(
        model="tts-1", voice="heart", input=HELLO, response_format="wav", extra_body=FAST
    )
    assert answer.content == wav


def test_openai_streams(client, wav):
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts",
        voice="heart",
        input=HELLO,
        response_format="pcm",
        extra_body=FAST,
        extra_headers={"X-Request-Id": "mine"},
    ) as answer:
        assert b"".join(answer.iter_bytes()) == wav[44:]
        assert answer.headers["x-request-id"] == "mine"
        assert answer.headers["x-model"] == "zipvoice_small_distill"


def test_openai_reads_events(client, wav):
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts",
        voice="heart",
        input=HELLO,
        response_format="pcm",
        stream_format="sse",
        extra_body=FAST,
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = "".join(answer.iter_text()).strip().split("\n\n")
    events = [json.loads(block.partition("\ndata: ")[2]) for block in blocks]
    assert [block.split("\n")[0] for block in blocks] == [f"event: {event['type']}" for event in events]
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == wav[44:]
    usage = events[-1]["usage"]
    assert events[-1]["type"] == "speech.audio.done" and usage["input_tokens"] > 10
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_openai_is_told_what_is_wrong(client):
    with pytest.raises(openai.NotFoundError, match="there is no voice 'kathlen'; did you mean 'kathleen'"):
        client.audio.speech.create(model="tts-1", voice="kathlen", input=HELLO)
    with pytest.raises(openai.BadRequestError, match="less than or equal to 4") as caught:
        client.audio.speech.create(model="tts-1", voice="heart", input=HELLO, speed=5)
    assert caught.value.param == "speed" and caught.value.code == "less_than_equal"
    with pytest.raises(openai.NotFoundError, match="there is no model 'tts-9'"):
        client.audio.speech.create(model="tts-9", voice="heart", input=HELLO)


def test_open_webui_finds_models_and_voices(http, client):
    assert [model.id for model in client.models.list()] == ["zipvoice_small_distill"]
    assert client.models.retrieve("zipvoice_small_distill").owned_by == "zipvoice"
    assert "heart" in [voice["id"] for voice in http.get("/v1/audio/voices").json()["voices"]]
    assert "heart" in http.get("/v1/audio/voices", params={"legacy": True}).json()["voices"]
    answer = http.post("/v1/audio/speech", json={"model": "tts-1", "input": "Yes.", "voice": "heart", **FAST})
    assert answer.headers["content-type"] == "audio/mpeg" and len(samples(answer.content)) > 2400


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"input": ""}, 400, "input", "string_too_short"),
        ({"input": "?!"}, 400, "input", "invalid_text"),
        ({"input": "[pause x]"}, 400, "input", "invalid_text"),
        ({"input": 5}, 400, "input", "string_type"),
        ({"input": "a" * 10_001}, 400, "input", "text_too_long"),
        ({"input": "a", "voice": "nobody"}, 404, "voice", "voice_not_found"),
        ({"input": "a", "voice": {"id": "../../etc/passwd"}}, 404, "voice", "voice_not_found"),
        ({"input": "a", "voice": {"name": "x"}}, 400, "voice", "string_type"),
        ({"input": "a", "voice": "heart", "speaker": "heart"}, 400, "voice", "given_twice"),
        ({"input": "a", "sped": 1}, 400, "sped", "unknown_field"),
        ({"input": "a", "speed": "1"}, 400, "speed", "float_type"),
        ({"input": "a", "seed": -1}, 400, "seed", "greater_than_equal"),
        ({"input": "a", "language": "tlh"}, 400, "language", "invalid_value"),
        ({"input": "a", "response_format": "au"}, 400, "response_format", "literal_error"),
        ({"input": "a", "duration": 2, "speed": 2}, 400, None, "value_error"),
        ({"input": "a", "word_timestamps": True, "ref_text": "a"}, 400, None, "value_error"),
        ({"input": "a", "ref_audio": "data:audio/wav;base64,AAAA"}, 400, None, "value_error"),
        ({"input": "a", "ref_audio": "http://127.0.0.1/a.wav", "ref_text": "b"}, 400, "ref_audio", "invalid_value"),
        ({"input": "a", "ref_audio": "file:///etc/passwd", "ref_text": "b"}, 400, "ref_audio", "invalid_value"),
        ({"input": "a", "ref_audio": "/etc/passwd", "ref_text": "b"}, 400, "ref_audio", "invalid_value"),
        ({"input": "a", "ref_audio": "data:audio/wav;base64,?", "ref_text": "b"}, 400, "ref_audio", "invalid_value"),
        ({"input": "a", "ref_audio": "data:a/b;base64,QUJD", "ref_text": "b"}, 400, None, "unsupported_audio"),
        ({}, 400, "input", "missing"),
    ],
)
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_mistakes_are_named_in_one_shape(http, fields, status, param, code, stream_format):
    answer = http.post("/v1/audio/speech", json={"stream_format": stream_format, **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code)
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert error["type"] == {400: "invalid_request_error", 404: "not_found_error"}[status]


def test_everything_else_is_told_in_the_same_shape(http):
    for method, path, content, status in (
        ("POST", "/v1/audio/speech", b"{", 400),
        ("POST", "/v1/audio/speech", b'{"input": "\xff"}', 400),
        ("POST", "/v1/audio/speech", b"[]", 400),
        ("POST", "/v1/audio/speech", b"", 400),
        ("GET", "/v1/audio/speech", b"", 405),
        ("GET", "/v1/nothing", b"", 404),
        ("GET", "/v1/models/gpt-5", b"", 404),
        ("DELETE", "/v1/audio/voices/nobody", b"", 404),
        ("DELETE", "/v1/audio/voices/kathleen", b"", 403),
        ("POST", "/v1/audio/voices", b"", 400),
    ):
        answer = http.request(method, path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, (path, answer.text)
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == {403: "permission_error", 404: "not_found_error"}.get(status, "invalid_request_error")


def test_a_body_without_its_type_is_told_of_the_header(http):
    answer = http.post("/v1/audio/speech", content=b'{"input": "Hi."}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400
    assert "with the header Content-Type: application/json" in answer.json()["error"]["message"]


def test_fields_of_other_servers_are_told_to_have_no_effect(http):
    assert speak(http, "Yes.", instructions="merrily").headers["x-ignored-fields"] == "instructions"


def test_the_times_of_words_are_told_on_request(http):
    text = "Nobody knows why. The quick brown fox jumps."
    whole = speak(http, text, word_timestamps=True, stream=False)
    words = json.loads(whole.headers["x-word-timestamps"])
    assert [word["word"] for word in words] == text.replace(".", "").split()
    times = [time for word in words for time in (word["start_ms"], word["end_ms"])]
    assert times == sorted(times) and times[-1] <= 1000 * decode(whole.content).seconds
    events = speak(http, text, word_timestamps=True, stream_format="sse").text.strip().split("\n\n")
    told = json.loads(events[-1].partition("\ndata: ")[2])["word_timestamps"]
    assert [word["word"] for word in told] == [word["word"] for word in words]


# ---------------------------------------------------------------- batch, dialogue


def test_a_batch_has_its_errors_by_item(http, wav):
    items = [{"input": HELLO}, {"input": "?"}, {"input": "Yes.", "voice": "nobody"}, {"input": "No.", "speed": 9}, {}]
    answer = http.post("/v1/audio/speech/batch", json={"items": items, "response_format": "wav", **FAST}).json()
    results = answer["results"]
    assert (answer["total"], answer["succeeded"], answer["failed"]) == (5, 1, 4)
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4]
    assert [result.get("error", {}).get("param") for result in results] == [None, "input", "voice", "speed", "input"]
    assert decode(base64.b64decode(results[0]["audio_data"])).num_samples == (len(wav) - 44) // 2
    assert results[0]["media_type"] == "audio/wav" and results[0]["usage"]["output_tokens"] > 0


def test_a_batch_is_bounded(http):
    for items in ([], [{"input": "Yes."}] * 33):
        answer = http.post("/v1/audio/speech/batch", json={"items": items})
        assert answer.status_code == 400 and answer.json()["error"]["param"] == "items"


def test_a_dialogue_is_its_turns_with_pauses_between(http):
    turns = [{"voice": "heart", "text": "Are you there?"}, {"text": "Yes, I am."}]
    body = {"turns": turns, "pause_between_turns": 0.5, "response_format": "pcm", **FAST}
    whole = http.post("/v1/audio/dialogue", json=body).content
    first, second = (speak(http, turn["text"], response_format="pcm").content for turn in turns)
    assert len(whole) == len(first) + 24000 + len(second)
    assert whole[len(first) : len(first) + 24000] == bytes(24000)
    for alone, beside in ((first, whole[: len(first)]), (second, whole[-len(second) :])):  # both are spoken at once
        assert np.corrcoef(*(np.frombuffer(data, "<i2") for data in (alone, beside)))[0, 1] > 0.999


@pytest.mark.parametrize("name", ["flac", "opus"])
def test_a_dialogue_may_have_no_pauses(http, name):
    turns = [{"text": "Yes."}, {"text": "No."}]
    body = {"turns": turns, "pause_between_turns": 0, "response_format": name, **FAST}
    whole = http.post("/v1/audio/dialogue", json=body).content
    alone = sum(len(speak(http, turn["text"]).content) - 44 for turn in turns) // 2
    assert len(samples(whole)) == alone


def test_a_dialogue_names_the_voice_it_does_not_have(http):
    body = {"turns": [{"voice": "nobody", "text": "Yes."}]}
    assert http.post("/v1/audio/dialogue", json=body).json()["error"]["code"] == "voice_not_found"


# ---------------------------------------------------------------- voices

RECORDING = encode(tone(1.0), ".wav")
FORM = {"consent": "I am the speaker", "name": "me", "ref_text": "a low tone"}


def upload(http, recording=RECORDING, **fields):
    form = {name: value for name, value in {**FORM, **fields}.items() if value is not None}
    return http.post("/v1/audio/voices", data=form, files={"audio_sample": ("../../x.exe", recording, "text/html")})


def test_a_voice_is_uploaded_heard_and_deleted(http, server):
    made = upload(http, speaker_description="a pipe").json()
    assert made["success"] and made["voice"]["id"] == "me" and made["voice"]["mime_type"] == "audio/wav"
    assert {path.name for path in server.voices.iterdir()} == {"me.safetensors"}
    listed = http.get("/v1/audio/voices").json()
    assert {"id": "me", "name": "me", "uploaded": True} in listed["voices"]
    (known,) = listed["uploaded_voices"]
    assert (known["consent"], known["ref_text"]) == (FORM["consent"], FORM["ref_text"])
    assert known["file_size"] == len(RECORDING) and known["speaker_description"] == "a pipe"
    named = speak(http, voice={"id": "me"}).content
    brought = base64.b64encode(RECORDING).decode()
    assert speak(http, ref_audio=f"data:audio/wav;base64,{brought}", ref_text="a low tone").content == named
    heard = http.get("/v1/audio/voices/me/preview", params={"response_format": "flac"})
    assert heard.headers["content-type"] == "audio/flac" and len(samples(heard.content)) > 24000
    assert http.delete("/v1/audio/voices/me").json()["success"]
    assert speak(http, voice="me").status_code == 404 and not list(server.voices.iterdir())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"consent": None}, "consent"),
        ({"consent": " No. "}, "consent"),
        ({"consent": "false"}, "consent"),
        ({"ref_text": " "}, "ref_text"),
        ({"name": "../me"}, "name"),
        ({"name": ".me"}, "name"),
        ({"name": "heart"}, "name"),
        ({"recording": b"<html>"}, None),
        ({"recording": RECORDING[:20]}, None),
        ({"recording": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n"}, None),
        ({"mood": "merry"}, "mood"),
        ({"consent": "yes " * 3000}, "consent"),
        ({"speaker_description": "a pipe " * 3000}, "speaker_description"),
    ],
)
def test_an_upload_that_cannot_be_a_voice_is_refused(http, fields, param):
    answer = upload(http, **fields)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".opus", ".mp3"])
def test_recordings_are_known_by_their_content(http, suffix):
    data = encode(tone(1.0), suffix)
    url = f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"
    assert speak(http, ref_audio=url, ref_text="a low tone").status_code == 200


# ---------------------------------------------------------------- the server


def test_health_and_metrics(http):
    assert http.get("/health").json() == {"status": "ok"}
    assert http.get("/ready").json() == {"status": "ready"}
    text = http.get("/metrics").text
    assert metric(http, "tasks") >= 1 and "process_resident_memory_bytes" in text
    assert re.search(r'zipvoice_first_audio_seconds_bucket\{le="\+Inf"\} \d', text)


def test_other_peoples_pages_are_kept_out(http):
    foreign = http.get("/v1/models", headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403 and foreign.json()["error"]["code"] == "wrong_origin"
    assert http.get("/v1/models", headers={"Host": "evil.example"}).json()["error"]["code"] == "wrong_host"
    assert http.get("/v1/models", headers={"Origin": str(http.base_url).rstrip("/")}).status_code == 200
