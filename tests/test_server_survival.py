# SPDX-License-Identifier: Apache-2.0
"""What people and accidents do to a speech server, and what becomes of it: a real process, raw sockets."""

import asyncio
import base64
import contextlib
import json
import re
import select
import signal
import socket
import struct
import time

import httpx
import numpy as np
import pytest
import server_process
from tiny_models import tone
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from zipvoice.audio.files import Audio, encode
from zipvoice.server.answers import Stream
from zipvoice.server.containers import FLAC_LENGTH_AT, whole_file
from zipvoice.server.wyoming import Event, event_bytes

KEY = {"Authorization": "Bearer sesame"}
SENTENCE = "Nobody knows why the quick brown fox should jump again and again. "
GIGABYTE = 1 << 30
QUICK_LIMITS = ("--receive-seconds", "3", "--send-seconds", "3", *server_process.PATIENT)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with keys and short patience."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text("# ours\nother\n\n sesame \n")
    options = ("--api-key-file", str(folder / "keys"), "--wyoming", "0", "--skip-unknown")
    running = server_process.start(folder, *options, *QUICK_LIMITS)
    yield running
    assert running.end() == 0
    assert running.log.read_text().count("\n") == 1  # where it listens, and nothing else


@pytest.fixture
def http(guarded):
    with httpx.Client(base_url=guarded.url, timeout=120, headers=KEY) as client:
        yield client


@pytest.fixture
def raw(guarded):
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=30) as connection:
        yield connection


def head(path="/v1/audio/speech", **headers):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return ("\r\n".join([*lines, "Authorization: Bearer sesame", "", ""])).encode()


def answer(connection) -> tuple[int, dict]:
    """Status and error of the answer on a raw connection, which ends with it."""
    data = b""
    while block := connection.recv(1 << 16):
        data += block
    top, _, body = data.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(body)["error"]


# ---------------------------------------------------------------- keys


def test_without_a_key_nothing_is_told(guarded):
    for headers in (
        {},
        {"Authorization": "Bearer sesam"},
        {"Authorization": "sesame"},
        {"Authorization": "Basic sesame"},
    ):
        for path in ("/v1/models", "/metrics", "/v1/audio/voices", "/nothing"):
            refused = httpx.get(guarded.url + path, headers=headers)
            assert refused.status_code == 401 and refused.json()["error"]["code"] == "invalid_api_key"
    assert httpx.get(guarded.url + "/health").status_code == 200
    for key in ("sesame", "other"):
        assert httpx.get(guarded.url + "/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_a_websocket_has_its_key_in_a_header_or_a_protocol(guarded):
    where = guarded.url.replace("http", "ws") + "/v1/audio/speech/stream"
    with pytest.raises(InvalidStatus) as caught:
        connect(where)
    assert caught.value.response.status_code == 401
    with connect(where, subprotocols=["zipvoice", "openai-insecure-api-key.sesame"]) as socket:
        assert socket.subprotocol == "zipvoice"
    with connect(where, additional_headers={**KEY, "X-Request-Id": "mine"}) as socket:
        assert socket.response.headers["X-Request-Id"] == "mine"


def test_a_websocket_may_be_silent_for_longer_than_a_head(guarded):
    where = guarded.url.replace("http", "ws") + "/v1/audio/speech/stream"
    with connect(where, additional_headers=KEY) as socket:
        for _ in range(2):
            time.sleep(0.7)  # a head has half a second
            socket.send("{}")
            assert json.loads(socket.recv(timeout=30))["error"]["code"] == "invalid_json"


@pytest.mark.parametrize("options", [("--host", "0.0.0.0"), ("--host", "0.0.0.0", "--wyoming", "0", "--api-key", "k")])
def test_the_network_is_served_only_with_a_key_or_in_so_many_words(options, capsys):
    from zipvoice.cli import main

    assert main(["serve", "--port", "0", *options]) == 1
    assert "--allow-anyone" in capsys.readouterr().err


# ---------------------------------------------------------------- too much, too slow, nonsense


def test_a_large_body_is_refused_by_its_declared_length(raw):
    raw.sendall(head(Content_Type="application/json", Content_Length=GIGABYTE))
    status, error = answer(raw)
    assert (status, error["code"]) == (413, "too_large")


def test_a_large_body_is_refused_as_it_comes(raw, guarded):
    before = guarded.status("VmRSS")
    raw.sendall(head(Content_Type="application/json", Transfer_Encoding="chunked"))
    chunk, sent = b"10000\r\n" + b" " * 0x10000 + b"\r\n", 0
    try:
        while sent < GIGABYTE:
            raw.sendall(chunk)
            sent += 0x10000
        pytest.fail("a gigabyte was taken in")
    except OSError:
        pass
    assert guarded.status("VmRSS") < before + 100_000  # kilobytes


def test_an_upload_of_a_gigabyte_is_refused(raw):
    kind = "multipart/form-data; boundary=x"
    raw.sendall(head("/v1/audio/voices", Content_Type=kind, Transfer_Encoding="chunked"))
    part = b'--x\r\nContent-Disposition: form-data; name="audio_sample"; filename="a.wav"\r\n\r\n'
    raw.sendall(b"%x\r\n%s\r\n" % (len(part), part))
    for _ in range(16_000_000 // 0x10000):
        raw.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
    status, error = answer(raw)
    assert (status, error["code"]) == (413, "too_large")


def drip(connection) -> None:
    """Send byte by byte until there is an answer or an end: what waits for the next byte alone waits for all."""
    for _ in range(90):
        if select.select([connection], [], [], 0.1)[0]:
            return
        connection.sendall(b" ")
    pytest.fail("byte by byte was waited for")


def test_a_slow_body_is_given_up(raw):
    raw.sendall(head(Content_Type="application/json", Content_Length=100) + b"{")
    drip(raw)
    status, error = answer(raw)
    assert (status, error["code"]) == (408, "slow_request")


def test_a_slow_head_is_given_up(raw):
    raw.sendall(b"GET /health HTTP/1.1\r\nHost: local")
    drip(raw)
    with contextlib.suppress(ConnectionResetError):
        assert raw.recv(100) == b""


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01" * 100, b"\0" * 5000, b"SSH-2.0-x\r\n\r\n", b"GET " + b"a" * 99999]
)
def test_garbage_is_told_so(raw, data):
    raw.sendall(data)
    status, error = answer(raw)
    assert (status, error["code"]) == (400, "bad_request")


def test_garbage_in_the_body_of_what_was_refused_ends_it(raw):
    raw.sendall(head(Transfer_Encoding="chunked").replace(b"sesame", b"sesam"))
    assert b" 401 " in raw.recv(100)
    raw.sendall(b"no chunk\r\n")
    with contextlib.suppress(ConnectionError):
        while raw.recv(4096):
            pass


def test_an_upload_that_is_given_up_is_no_failure_of_the_server(raw, guarded):
    """What the server says is looked at in the end."""
    raw.sendall(head("/v1/audio/voices", Content_Type="multipart/form-data; boundary=x", Content_Length=9999) + b"--x")


def test_garbage_on_a_websocket_ends_it(guarded, http):
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=30) as connection:
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key = f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
        lines = (
            f"GET /v1/audio/speech/stream HTTP/1.1\r\nHost: localhost\r\n{upgrade}{key}Authorization: Bearer sesame\r\n"
        )
        connection.sendall(lines.encode() + b"\r\n")
        assert b"101" in connection.recv(4096)
        connection.sendall(b"\xff" * 5000)
        while connection.recv(4096):
            pass
    assert http.get("/health").status_code == 200


def test_a_long_text_is_refused(http):
    refused = http.post("/v1/audio/speech", json={"input": "a " * 50_000})
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "text_too_long"


def test_a_text_of_which_something_is_left_out_is_not_in_the_log(http):
    """Nor what is left out; the log is looked at in the end."""
    assert http.post("/v1/audio/speech", json={"input": "My secret 字.", "num_steps": 1}).status_code == 200


def data_url(data: bytes) -> str:
    return f"data:audio/flac;base64,{base64.b64encode(data).decode()}"


def test_the_length_that_a_recording_declares_is_not_believed(http):
    data = bytearray(encode(tone(1.0), ".flac"))
    (word,) = struct.unpack_from(">Q", data, FLAC_LENGTH_AT)
    struct.pack_into(">Q", data, FLAC_LENGTH_AT, word | (1 << 36) - 1)
    body = {"input": "Yes.", "ref_audio": data_url(bytes(data)), "ref_text": "a low tone", "num_steps": 1}
    assert http.post("/v1/audio/speech", json=body).status_code == 200


def test_minutes_of_sound_in_a_small_file_are_not_decoded(http):
    minutes = whole_file("flac", Audio(np.zeros((1, 600 * 24000), np.float32), 24000))
    assert len(minutes) < 100_000
    refused = http.post("/v1/audio/speech", json={"input": "Yes.", "ref_audio": data_url(minutes), "ref_text": "a"})
    assert refused.status_code == 400 and "lasts longer than 60 s" in refused.json()["error"]["message"]


def test_nothing_is_left_of_it_all(guarded, http):
    time.sleep(3)
    assert http.get("/health").status_code == 200
    assert guarded.num_files() < 40 and guarded.status("Threads") < 60


def test_a_client_that_takes_nothing_in_is_let_go():
    done, ended = [], []

    async def chunks():
        while True:
            yield b"sound"

    async def send(message):
        await asyncio.sleep(60)

    async def receive():
        await asyncio.sleep(60)

    scope = {"type": "http", "state": {"abort": lambda: done.append("abort")}}
    stream = Stream(chunks(), lambda: ended.append("stop"), "audio/pcm", {}, send_seconds=0.05)
    asyncio.run(stream(scope, receive, send))
    assert done == ["abort"] and ended == ["stop"]


# ---------------------------------------------------------------- the end


def test_what_is_being_spoken_is_spoken_to_its_end_at_sigterm(guarded, http):
    """The last one that uses this server."""
    body = {"input": SENTENCE * 3, "response_format": "pcm", "num_steps": 1}
    where = guarded.url.replace("http", "ws") + "/v1/audio/speech/stream"
    settings = {"type": "session.config", "response_format": "pcm", "num_steps": 1}
    with (
        connect(where, additional_headers=KEY) as live,
        connect(where, additional_headers=KEY) as idle,
        http.stream("POST", "/v1/audio/speech", json=body) as answer,
        socket.create_connection(("127.0.0.1", guarded.wyoming_port), timeout=60) as home,
    ):
        home.sendall(event_bytes(Event("synthesize", {"text": SENTENCE})))
        for message in (settings, {"type": "input.text", "text": SENTENCE * 3}, {"type": "input.done"}):
            live.send(json.dumps(message))
        chunks, messages = answer.iter_raw(), []
        size = len(next(chunks))
        while not messages or isinstance(messages[-1], str):  # until there is sound
            messages.append(live.recv(timeout=60))
        events = home.recv(1 << 16)
        guarded.process.send_signal(signal.SIGTERM)
        size += sum(len(chunk) for chunk in chunks)
        while data := home.recv(1 << 16):
            events += data
        with contextlib.suppress(ConnectionClosedError):
            while True:
                messages.append(live.recv(timeout=60))
    sound = b"".join(message for message in messages if isinstance(message, bytes))
    *_, done, end = (json.loads(message) for message in messages if isinstance(message, str))
    assert size > 2 * 24000 * 8 and len(sound) == done["total_bytes"] > 2 * 24000 * 8
    assert end["type"] == "session.done" and b'"type": "audio-stop"' in events
    assert live.close_code == idle.close_code == 1012  # the service restarts
    assert guarded.process.wait(60) == 0


@pytest.mark.slow
def test_ctrl_c_ends_at_once_with_one_line(tmp_path):
    running = server_process.start(tmp_path)
    with httpx.stream("POST", f"{running.url}/v1/audio/speech", json={"input": SENTENCE * 20}, timeout=60) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        assert running.end(signal.SIGINT) == 130
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)
    assert running.log.read_text().splitlines()[1:] == ["interrupted"]


@pytest.mark.slow
def test_a_killed_server_cuts_its_answers_off_and_starts_again(tmp_path):
    running = server_process.start(tmp_path, "--log-requests")
    form = {"consent": "yes", "name": "me", "ref_text": "a low tone"}
    files = {"audio_sample": encode(tone(1.0), ".wav")}
    assert httpx.post(f"{running.url}/v1/audio/voices", data=form, files=files, timeout=60).status_code == 200
    with httpx.stream("POST", f"{running.url}/v1/audio/speech", json={"input": SENTENCE * 20}, timeout=60) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        assert running.end(signal.SIGKILL) == -9
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            list(chunks)
    line = r"^\w{32} POST '/v1/audio/voices' 200, \d+ bytes in [\d.]+ s$"
    assert re.search(line, running.log.read_text(), re.MULTILINE)
    again = server_process.start(tmp_path, "--port", str(running.port))
    body = {"input": "Yes.", "voice": "me", "num_steps": 1}
    assert httpx.post(f"{again.url}/v1/audio/speech", json=body, timeout=60).status_code == 200
    again.end()


def hear(chunks, seconds):
    """Read so much sound, of 16 bits at 24 kHz."""
    left = seconds * 48_000
    while left > 0:
        left -= len(next(chunks))


@pytest.mark.slow
def test_a_text_of_a_hundred_thousand_characters_streams_in_bounded_memory(tmp_path):
    running = server_process.start(tmp_path, "--max-characters", "200000", *server_process.PATIENT)
    text = SENTENCE * (100_000 // len(SENTENCE))
    body = {"input": text, "num_steps": 1, "response_format": "pcm"}
    with httpx.stream("POST", f"{running.url}/v1/audio/speech", json=body, timeout=120) as answer:
        chunks = answer.iter_raw()
        hear(chunks, seconds=90)  # its chunks double up to some length, and so does what they take
        before = running.status("VmRSS")
        hear(chunks, seconds=90)
        assert running.status("VmRSS") < before + 50_000  # kilobytes
    until = time.monotonic() + 30
    while "zipvoice_open 0.0" not in httpx.get(f"{running.url}/metrics").text:
        assert time.monotonic() < until
        time.sleep(0.1)
    running.end()
