# SPDX-License-Identifier: Apache-2.0
"""What a request may say, who may send it, and the name it has: the application without a process around it."""

import asyncio
import base64
import json
import logging
import re
import socket
from dataclasses import asdict, replace
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
from pydantic import ValidationError
from tiny_models import make_synthesizer, tone
from uvicorn.server import ServerState

from zipvoice.audio.words import Word
from zipvoice.config.server import ServerOptions
from zipvoice.config.strict_json import DoubledKeyError, unique_keys
from zipvoice.server import recordings, run, speech_routes, wyoming
from zipvoice.server.admission import SchedulerLimits
from zipvoice.server.answers import MAX_HEADER_BYTES, as_events, heard, shown_words, whole_answer
from zipvoice.server.app import build_app
from zipvoice.server.connections import connection_class
from zipvoice.server.counters import SchedulerMetrics
from zipvoice.server.errors import ApiError, busy, invalid
from zipvoice.server.guard import Guard
from zipvoice.server.metrics import exposition
from zipvoice.server.recordings import of_data_url
from zipvoice.server.request_log import RequestLog
from zipvoice.server.run import listening
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.schemas import Dialogue, LiveSettings, Speech
from zipvoice.server.speaker import Speaker
from zipvoice.server.speech_job import Cancelled, DeadlineExceeded, SpeechRequest
from zipvoice.server.text_feed import CLAUSE_CHARACTERS, SENTENCE_CHARACTERS, TextFeed
from zipvoice.server.voice_folders import folder_at
from zipvoice.server.voice_store import CACHED_PROMPTS, VoiceStore, details_of

HERE = "http://127.0.0.1:8000"
QUICK = {"num_steps": 1, "guidance_scale": 0.0, "seed": 7, "response_format": "pcm"}


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    """A small server of one voice that holds two requests at a time."""
    synthesizer = make_synthesizer(tmp_path_factory.mktemp("model"))
    store = VoiceStore(folder_at(tmp_path_factory.mktemp("voices")), {"alloy": "low"})
    prompt = synthesizer.prompt(tone(0.6), "a low tone")
    store.add("low", prompt, details_of(b"", "audio/wav", "yes", "a low tone", None))
    with Scheduler(synthesizer, SchedulerLimits(max_requests=2, queue_seconds=1e6, burst_seconds=0)) as scheduler:
        yield Speaker(synthesizer, scheduler, store, "tiny", ServerOptions())


@pytest.fixture(scope="module")
def app(speaker):
    return build_app(speaker)


def ask(app, method, path, **given):
    async def asked():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=HERE, timeout=60) as client:
            return await client.request(method, path, **given)

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        *((host, False) for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1")),
        *((host, True) for host in ("0.0.0.0", "::", "10.0.0.7", "192.168.1.7", "fe80::1", "8.8.8.8", "speech.local")),
    ],
)
def test_whoever_opens_a_server_to_a_network_says_for_whom(host, is_open):
    for more in ({}, {"api_key": "k", "wyoming": 10200}):  # Wyoming knows no keys
        if is_open:
            with pytest.raises(ValueError, match=f"at {host} everybody in the network could use"):
                ServerOptions(host=host, **more)
        assert ServerOptions(host=host, **more, allow_anyone=is_open).is_open == is_open
    assert ServerOptions(host=host, api_key="k").is_open == is_open


def test_a_file_of_keys_has_one_in_each_line_that_is_no_remark(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# for the phone\n one \n\ntwo#2\n#three\n")
    assert ServerOptions(api_key_file=path).keys() == ("one", "two#2")
    assert ServerOptions(api_key=" own ", api_key_file=path).keys() == ("own", "one", "two#2")
    path.write_bytes(b"\xef\xbb\xbfone\r\n")  # as editors of Windows save it
    assert ServerOptions(api_key_file=path).keys() == ("one",)
    path.write_text("one", encoding="utf-16")
    with pytest.raises(ValueError, match="keys is not UTF-8; save it as such"):
        ServerOptions(api_key_file=path).keys()
    path.write_text("# none yet\n\n")
    with pytest.raises(ValueError, match="holds no key; write one on a line of its own"):
        ServerOptions(api_key_file=path).keys()


# ---------------------------------------------------------------- limits


def test_so_many_voices_are_kept(speaker, tmp_path):
    store, details = VoiceStore(folder_at(tmp_path), max_voices=2), details_of(b"", "audio/wav", "yes", "a tone", None)
    prompt = speaker.voices.get("low")
    for name in ("first", "second", "first"):  # the last takes the place of one
        store.add(name, prompt, details)
    with pytest.raises(ApiError, match="there are 2 voices, as many as are kept; delete one"):
        store.add("third", prompt, details)
    store.remove("second")
    store.add("third", prompt, details)
    assert store.names()[-2:] == ["first", "third"]


def test_a_name_that_stands_for_no_voice_says_so(speaker, tmp_path):
    with pytest.raises(ApiError, match="'alloy' stands for the voice 'nobody', which is not there"):
        VoiceStore(folder_at(tmp_path), {"alloy": "nobody"}).get("alloy")


@pytest.mark.parametrize(("seconds", "told"), [(0.0, "1"), (0.4, "1"), (2.0, "2"), (2.1, "3")])
def test_a_client_is_not_asked_to_come_back_too_early(seconds, told):
    assert busy("later", seconds, "busy").headers == {"Retry-After": told}


# ---------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("schema", "needed"),
    [
        (Speech, {"input": "a"}),
        (LiveSettings, {}),
        (Dialogue, {"turns": [{"text": "a"}]}),
    ],
)
def test_a_field_that_is_null_is_as_one_that_is_left_out(schema, needed):
    bare = schema.model_validate(needed)
    nulls = {name: None for name in schema.model_fields if name not in needed}
    assert schema.model_validate({**needed, **nulls, "instructions": None}) == bare
    for name in needed:
        with pytest.raises(ValidationError, match="Field required"):
            schema.model_validate({**needed, name: None})


@pytest.mark.parametrize(
    ("field", "other", "value"),
    [
        ("language", "lang_code", "en"),
        ("num_steps", "num_step", 4),
        ("guidance_scale", "guidance", 2.0),
        ("timeout_seconds", "request_timeout_s", 5.0),
        ("duration", "duration_seconds", 3.0),
        ("voice", "speaker", "heart"),
    ],
)
def test_a_field_has_the_names_of_other_servers_too(field, other, value):
    for name in (field, other):
        assert getattr(Speech.model_validate({"input": "one.", name: value}), field) == value


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"input": "one.", "input": "two."}', "input"),
        ('{"input": "one.", "speed": 1, "voice": {"id": "low", "id": "low"}}', "id"),
    ],
)
def test_a_field_that_is_there_twice_is_a_mistake(app, body, field):
    typed = {"Content-Type": "application/json"}
    answer = ask(app, "POST", "/v1/audio/speech", content=body, headers=typed)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "given_twice", field)


class Name(str):
    """A key that counts how often it is looked at."""

    looks = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Name.looks += 1
        return str.__eq__(self, other)


def test_the_field_that_is_there_twice_is_found_among_thousands_at_once():
    names = [*(Name(number) for number in range(2000)), Name(1999)]
    with pytest.raises(DoubledKeyError, match="1999"):
        unique_keys([(name, 0) for name in names])
    assert Name.looks < 10 * len(names)


@pytest.mark.parametrize("where", ["a field", "voice"])
def test_a_name_of_megabytes_is_neither_compared_nor_sent_back(app, monkeypatch, where):
    monkeypatch.setattr("difflib.SequenceMatcher", None)
    name = "voices" * 300_000
    body = {"input": "one.", "voice": name} if where == "voice" else {"input": "one.", name: 1}
    answer = ask(app, "POST", "/v1/audio/speech", json=body)
    assert answer.json()["error"]["code"] in ("voice_not_found", "unknown_field") and len(answer.content) < 1000


# ---------------------------------------------------------------- methods and hosts


@pytest.mark.parametrize("path", ["/", "/app.js", "/docs", "/health", "/ready", "/v1/models", "/v1/audio/voices"])
def test_head_tells_what_get_does(app, path):
    head, get = (ask(app, method, path) for method in ("HEAD", "GET"))
    assert head.status_code == get.status_code == 200
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == get.headers["content-length"]
    assert ask(app, "HEAD", "/v1/audio/speech").status_code == 405


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/audio/voices", "GET, POST"), ("/v1/audio/voices/low", "DELETE"), ("/v1/audio/speech", "POST"), ("/", "GET")],
)
def test_a_path_tells_all_that_can_be_done_there(app, path, allowed):
    answer = ask(app, "PUT", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b'{"seed": ' + b"9" * 5000 + b"}", "too many digits"), (b"[" * 100_000, "nested"), (b'"\xff"', "not UTF-8")],
)
def test_a_body_that_is_json_no_server_reads_is_told_why(app, body, reason):
    error = ask(app, "POST", "/v1/audio/speech", content=body, headers={"Content-Type": "application/json"}).json()
    assert reason in error["error"]["message"] and "sys." not in error["error"]["message"]


@pytest.mark.parametrize("origins", [(), ("https://home.example",)])
def test_the_page_is_framed_by_those_alone_who_may_use_the_server(speaker, origins):
    app = build_app(replace(speaker, options=replace(speaker.options, allow_origin=origins)))
    policy = ask(app, "GET", "/").headers["content-security-policy"]
    assert policy.endswith(" ".join(("frame-ancestors 'self'", *origins)))


def status(options, keys=(), kind="http", **headers) -> int:
    """Of what a guard lets through or refuses."""

    async def through(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": "GET", "path": "/v1/models", "headers": raw, "extensions": {}, "subprotocols": []}
    if kind == "websocket":
        scope["extensions"] = {"websocket.http.response": {}}
    asyncio.run(Guard(through, options, keys, ())(scope, receive, send))
    return sent[0]["status"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1", 204),
        ("127.0.0.1:8000", 204),
        ("LOCALHOST:8000", 204),
        ("[::1]:8000", 204),
        ("studio.lan", 204),
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8000", 403),
        ("localhost:80@evil.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_without_keys_the_server_answers_to_its_own_names_alone(host, code, kind):
    """A page of evil.example, whose name was made to point here, has its own name in Host and in Origin."""
    options = ServerOptions(allow_host=("studio.lan",))
    assert status(options, kind=kind, host=host, origin=f"http://{host}") == code


def test_with_a_key_or_for_anyone_the_name_does_not_matter():
    assert status(ServerOptions(), ("k",), host="evil.example", authorization="Bearer k") == 204
    assert status(ServerOptions(), ("ключ",), host="evil.example", authorization="Bearer ключ") == 204
    assert status(ServerOptions(), ("k",), host="evil.example", authorization="bearer k") == 204
    assert [status(ServerOptions(), ("a", "b"), authorization=f"Bearer {key}") for key in "abc"] == [204, 204, 401]
    assert status(ServerOptions(), ("k",), host="evil.example", authorization="Basic k") == 401
    assert status(ServerOptions(), ("k",), host="evil.example") == 401
    assert status(ServerOptions(allow_anyone=True), host="evil.example") == 204


def test_the_voice_that_was_not_asked_for_longest_is_forgotten(speaker, tmp_path):
    store, prompt = VoiceStore(folder_at(tmp_path)), speaker.voices.get("low")
    for number in range(CACHED_PROMPTS):
        store.remember(number, prompt)
    assert store.remembered(0) is prompt
    store.remember("one more", prompt)
    assert [key for key in (0, 1, 2, "one more") if store.remembered(key) is None] == [1]


@pytest.mark.parametrize(
    ("name", "is_taken"), [("字" * 50, True), ("字" * 51, False), ("a" * 64, True), ("a" * 65, False)]
)
def test_the_name_of_a_voice_is_one_of_a_file(speaker, name, is_taken):
    """Of 64 characters and 150 bytes at most; a file has an ending besides, and some systems take 255 bytes."""
    if is_taken:
        assert speaker.voices.check_name(name) == name
    else:
        with pytest.raises(ApiError, match="is no name for a voice"):
            speaker.voices.check_name(name)


@pytest.mark.parametrize("size", [998, 999, 1000])
def test_a_recording_may_have_the_size_that_is_permitted(size):
    """In base64, within a request that has room for it."""
    data = bytes(size)
    url = f"data:audio/wav;base64,{base64.b64encode(data).decode()}"
    assert of_data_url(url, 1000) == data
    with pytest.raises(ApiError, match="ref_audio is larger than 990 bytes"):
        of_data_url(url, 990)
    assert len(url) < Guard(None, ServerOptions(max_upload_bytes=1000), (), ()).max_body
    assert Guard(None, ServerOptions(max_upload_bytes=10**8), (), ()).max_body > 10**8 * 4 / 3


def test_a_late_error_is_an_event_and_an_early_one_is_raised():
    async def chunks(*whole):
        for chunk in whole:
            yield chunk
        raise invalid("too much", "input")

    async def told(*whole):
        return [event.decode() async for event in as_events(chunks(*whole), "pcm", dict)]

    first, last = asyncio.run(told(b"abc"))
    assert first.startswith("event: speech.audio.delta") and base64.b64encode(b"abc").decode() in first
    assert last.startswith("event: speech.audio.error") and "too much" in last
    with pytest.raises(ApiError, match="too much"):
        asyncio.run(told())


def test_words_are_timed_from_the_beginning_of_the_sound():
    """In the order of their parts, of 0.5 s each."""

    async def parts():
        for words in ((Word("one", 0.1, 0.4),), (), (Word("two", 0.0, 0.25),)):
            yield replace(tone(0.5), words=words)

    async def listened(words):
        return [part.seconds async for part in heard(parts(), words)]

    words = []
    assert asyncio.run(listened(words)) == [0.5] * 3
    assert shown_words(words) == [
        {"word": "one", "start_ms": 100, "end_ms": 400},
        {"word": "two", "start_ms": 1000, "end_ms": 1250},
    ]


@pytest.mark.parametrize("num_words", [1, 80, 120, 2000])
def test_times_of_words_are_in_the_head_of_an_answer_where_they_fit(num_words):
    """Each takes between 40 and 50 bytes there, of 4096."""
    words = tuple(Word("hello", 0.0, 0.1) for _ in range(num_words))

    async def parts():
        yield replace(tone(0.5), words=words)

    head = asyncio.run(whole_answer(parts(), "wav", {})).headers
    if num_words * 50 <= MAX_HEADER_BYTES:
        assert json.loads(head["x-word-timestamps"]) == shown_words(words)
        assert "x-word-timestamps-omitted" not in head
    else:
        assert "x-word-timestamps" not in head
        assert "x-word-timestamps-omitted" in head


def test_a_histogram_counts_what_is_at_most_each_bound():
    metrics = SchedulerMetrics()
    for size in (1, 3, 4, 5, 100):
        metrics.batch_size.add(size)
    lines = exposition(metrics, 7).decode().splitlines()
    found = dict(
        re.fullmatch(r'zipvoice_batch_size_bucket\{le="(.+)"\} (.+)', line).groups()
        for line in lines
        if "size_b" in line
    )
    assert {bound: float(count) for bound, count in found.items()} == {
        "1": 1, "2": 1, "4": 3, "8": 4, "16": 4, "32": 4, "64": 4, "+Inf": 5
    }  # fmt: skip
    assert {"zipvoice_batch_size_sum 113.0", "zipvoice_batch_size_count 5.0", "zipvoice_tasks 7.0"} <= set(lines)


def test_each_end_of_a_request_has_a_count_of_its_own():
    metrics = SchedulerMetrics()
    ends = {"completed": None, "failed": ValueError(), "cancelled": Cancelled(), "expired": DeadlineExceeded()}
    for times, error in enumerate(ends.values(), 1):
        for _ in range(times):
            metrics.end(error, 0.5)
    counts = {name: value for name, value in asdict(metrics).items() if type(value) is int and value}
    assert counts == {"completed": 1, "failed": 2, "cancelled": 3, "expired": 4}
    assert (metrics.request_seconds.num, metrics.request_seconds.total) == (1, 0.5)
    assert {f"zipvoice_{name}_total {count}.0" for name, count in counts.items()} <= set(
        exposition(metrics, 0).decode().splitlines()
    )
    metrics.frames, metrics.padding_frames = 60, 20
    assert (metrics.padding_share, SchedulerMetrics().padding_share) == (0.25, 0)


# ---------------------------------------------------------------- a full server


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
        return await asyncio.gather(*(decoders.decode(b"", 1.0) for _ in range(40)), return_exceptions=True)

    monkeypatch.setattr(recordings, "decode", slow)
    outcomes = asyncio.run(ask_all())
    assert outcomes[: recordings.MOST_WAITING] == [b""] * recordings.MOST_WAITING
    refused = outcomes[recordings.MOST_WAITING :]
    assert {(error.status_code, error.headers["Retry-After"]) for error in refused} == {(429, "16")}  # two at a time


def test_a_server_that_ends_says_so(speaker):
    with Scheduler(speaker.synthesizer) as scheduler:
        scheduler.drain(0)
        ending = build_app(replace(speaker, scheduler=scheduler))
        body = {"input": "one.", "voice": "low", **QUICK}
        for path, asked in (("/v1/audio/speech", body), ("/v1/audio/speech/batch", {"items": [body]})):
            answer = ask(ending, "POST", path, json=asked)
            assert answer.status_code == 503 and answer.headers["retry-after"]
            assert answer.json()["error"]["code"] == "shutting_down"


@pytest.mark.parametrize(
    ("state", "health", "ready"),
    [("ready", 200, 200), ("draining", 200, 503), ("failing", 200, 503), ("failed", 503, 503)],
)
def test_supervisors_are_told_what_a_server_can_do(speaker, state, health, ready):
    app = build_app(replace(speaker, scheduler=SimpleNamespace(state=state)))
    healthy, is_ready = ask(app, "GET", "/health"), ask(app, "GET", "/ready")
    assert (healthy.status_code, is_ready.status_code) == (health, ready)
    reasons = {"failing": "the last requests all failed; the log says why", "failed": "it must be started again"}
    reason = {"reason": reasons[state]} if state in reasons else {}
    assert is_ready.json() == {"status": state, **reason}


def test_a_model_of_nan_is_the_servers_failure(speaker, monkeypatch):
    monkeypatch.setattr(speaker.synthesizer, "mel", lambda trajectory: int("NaN"))
    for path, item in (("/v1/audio/speech", {}), ("/v1/audio/speech", {"stream_format": "sse"})):
        answer = ask(build_app(speaker), "POST", path, json={"input": "one.", "voice": "low", **QUICK, **item})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")


def test_ports_and_limits_that_cannot_be_are_named():
    for kind, wrong in (
        (ServerOptions, {"port": 70_000}),
        (ServerOptions, {"wyoming": -1}),
        (ServerOptions, {"send_seconds": 0.0}),
        (SchedulerLimits, {"requests_per_minute": 0.0}),
        (SchedulerLimits, {"max_requests": 0}),
        (SchedulerLimits, {"queue_seconds": float("nan")}),
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            kind(**wrong)


def test_an_address_that_is_taken_or_not_there_is_told_with_what_helps():
    with listening("127.0.0.1", 0) as taken, pytest.raises(OSError, match="choose another with --wyoming"):
        listening("127.0.0.1", taken.getsockname()[1], "--wyoming")
    with pytest.raises(OSError, match="choose another with --host"):
        listening("192.0.2.1", 0)


def test_a_server_listens_at_addresses_of_either_version(monkeypatch):
    monkeypatch.setattr(run.socket, "create_server", lambda where, **options: (where, options["family"]))
    assert listening("::1", 80) == (("::1", 80), socket.AF_INET6)
    assert listening("127.0.0.1", 80) == (("127.0.0.1", 80), socket.AF_INET)


@pytest.mark.parametrize(
    ("asked", "levels"),
    [
        ({}, (logging.WARNING, logging.ERROR)),
        ({"log_requests": True}, (logging.INFO, logging.ERROR)),
        ({"log_texts": True}, (logging.INFO, logging.WARNING)),
    ],
)
def test_a_server_logs_what_is_asked_for_and_no_text_else(monkeypatch, asked, levels):
    def listening(*_):
        raise OSError("taken")

    loggers = [logging.getLogger(f"zipvoice.{name}") for name in ("server", "text")]
    before = [logger.level for logger in loggers]
    monkeypatch.setattr(run, "listening", listening)
    monkeypatch.setattr(run.memory, "bound_heaps", lambda: None)
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with pytest.raises(OSError, match="taken"):
            run.serve(None, "mine", ServerOptions(**asked), SchedulerLimits(), print)
        assert tuple(logger.level for logger in loggers) == levels
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def test_connections_beyond_the_limit_are_cut_off():
    kept = connection_class(2, 10.0)
    config = uvicorn.Config(lambda *_: None, lifespan="off", log_config=None)
    config.load()
    transports = [SimpleNamespace(get_extra_info=lambda name: None, cut=False) for _ in range(3)]

    async def connect():
        state = ServerState()
        for transport in transports:
            transport.abort = lambda transport=transport: setattr(transport, "cut", True)
            kept(config, state, app_state={}).connection_made(transport)

    asyncio.run(connect())
    assert [transport.cut for transport in transports] == [False, False, True]


def _endless(speaker):
    return SpeechRequest(TextFeed(), speaker.voices.get("low"))


@pytest.mark.parametrize(
    ("mark", "least"),
    [(". ", SENTENCE_CHARACTERS), (", ", CLAUSE_CHARACTERS), ("。", SENTENCE_CHARACTERS), ("，", CLAUSE_CHARACTERS)],
)
def test_a_clause_is_spoken_by_itself_from_so_many_characters_on(mark, least):
    for length, number in ((least - 1, 1), (least, 2)):
        feed = TextFeed()
        feed.write(f"{'a' * (length - 1)}{mark}And b.")
        feed.end()
        assert len(list(feed)) == number


# ---------------------------------------------------------------- Wyoming


def test_each_text_of_a_connection_may_be_as_long_as_one(speaker):
    """Of ten characters: two of eight pass, in pieces, and one of eleven does not."""
    speaker = replace(speaker, options=replace(speaker.options, max_characters=10))
    told = []

    async def drained():
        pass

    def write(data):
        told.append(json.loads(data.partition(b"\n")[0])["type"])

    async def talk():
        writer = SimpleNamespace(get_extra_info=lambda name: ("me", 1), write=write, drain=drained)
        client = wyoming._Client(speaker, writer)
        for pieces in (["one ", "two."], ["six ", "two."], ["one ", "two ", "six."]):
            await client.handle(wyoming.Event("synthesize-start", {"voice": {"name": "low"}}))
            for text in pieces:
                await client.handle(wyoming.Event("synthesize-chunk", {"text": text}))
            await client.handle(wyoming.Event("synthesize-stop"))

    asyncio.run(talk())
    spoken, stopped = ["audio-start", "audio-chunk", "audio-stop"], "synthesize-stopped"
    kinds = [kind for kind, before in zip(told, [None, *told], strict=False) if kind != before]
    assert kinds == [*spoken, stopped, *spoken, stopped, "error", stopped]


# ---------------------------------------------------------------- names of requests


def test_a_request_has_the_name_its_client_gave_it(app):
    assert ask(app, "GET", "/health", headers={"X-Request-Id": "a/b-1"}).headers["x-request-id"] == "a/b-1"
    refused = ask(app, "GET", "/v1/models", headers={"X-Request-Id": "mine", "Host": "evil.example"})
    assert refused.status_code == 403 and refused.headers["x-request-id"] == "mine"
    for unusual in ("", "a b", "a\t1", "x" * 129):
        made = ask(app, "GET", "/health", headers={"X-Request-Id": unusual}).headers["x-request-id"]
        assert len(made) == 32 and made.isalnum()


def test_a_failure_is_told_by_the_name_of_its_request(speaker, monkeypatch, caplog):
    def fail():
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(speaker.voices, "names", fail)
    page = "https://chat.example.org"
    app = build_app(replace(speaker, options=replace(speaker.options, log_requests=True, allow_origin=(page,))))
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        failed = ask(app, "GET", "/v1/audio/voices", headers={"X-Request-Id": "mine", "Origin": page})
    assert failed.status_code == 500 and failed.headers["x-request-id"] == "mine"
    assert "the disk" not in failed.text and "the request mine failed" in caplog.text
    assert failed.json()["error"]["code"] == "internal_error"
    assert failed.headers["access-control-allow-origin"] == page
    assert "mine GET '/v1/audio/voices' 500, " in caplog.text and "cut off" not in caplog.text


def lines(speaker, caplog, **changed) -> list[str]:
    loud = replace(speaker, options=replace(speaker.options, **changed))
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        body = {**QUICK, "voice": "low", "input": "one two."}
        answer = ask(build_app(loud), "POST", "/v1/audio/speech", json=body, headers={"X-Request-Id": "mine"})
    assert answer.status_code == 200
    return [record.getMessage().replace(str(len(answer.content)), "SIZE") for record in caplog.records]


def test_requests_and_texts_are_logged_only_when_asked(speaker, caplog):
    assert lines(speaker, caplog) == []
    (line,) = lines(speaker, caplog, log_requests=True)
    assert line.startswith("mine POST '/v1/audio/speech' 200, SIZE bytes in ") and "cut off" not in line
    assert lines(speaker, caplog, log_texts=True)[-1] == "mine low: 'one two.'"


def test_the_texts_of_dialogues_are_logged_too(speaker, caplog):
    loud = replace(speaker, options=replace(speaker.options, log_texts=True))
    body = {**QUICK, "turns": [{"text": "one.", "voice": "low"}, {"text": "two.", "voice": "alloy"}]}
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        ask(build_app(loud), "POST", "/v1/audio/dialogue", json=body, headers={"X-Request-Id": "mine"})
    assert [record.getMessage() for record in caplog.records] == ["mine low: 'one.'", "mine alloy: 'two.'"]


def test_an_answer_that_was_not_sent_whole_is_logged_so(caplog):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})

    async def send(message):
        pass

    scope = {"type": "http", "method": "GET", "path": "/\n", "headers": []}
    with caplog.at_level(logging.INFO, "zipvoice.server"):
        asyncio.run(RequestLog(app, True)(scope, None, send))
    assert "GET '/\\n' 200, 3 bytes in " in caplog.text and caplog.text.rstrip().endswith("s, cut off")
