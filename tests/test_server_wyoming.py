# SPDX-License-Identifier: Apache-2.0
"""The Wyoming protocol without a process around it: what is read, told, refused and ended."""

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_models import make_synthesizer, tone

import zipvoice
from zipvoice.audio.files import pcm16
from zipvoice.config.server import ServerOptions
from zipvoice.server import wyoming
from zipvoice.server.scheduler import Scheduler
from zipvoice.server.speaker import Speaker
from zipvoice.server.voice_folders import folder_at
from zipvoice.server.voice_store import VoiceStore, details_of
from zipvoice.server.wyoming import Event, WyomingServer, event_bytes, read_event
from zipvoice.synthesis.synthesizer import joined

VOICE = {"voice": {"name": "low"}}
TEXT = "one two three."


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    synthesizer = make_synthesizer(tmp_path_factory.mktemp("model"))
    store = VoiceStore(folder_at(tmp_path_factory.mktemp("voices")))
    prompt = synthesizer.prompt(tone(0.6), "a low tone")
    store.add("low", prompt, details_of(b"", "audio/wav", "yes", "a low tone", None))
    with Scheduler(synthesizer) as scheduler:
        yield Speaker(synthesizer, scheduler, store, "tiny", ServerOptions())


def talk(speaker, *events, last=None):
    """What a server says to events until it says `last`, or ends the connection: then the last one is None."""

    async def talked():
        server = await asyncio.start_server(WyomingServer(speaker).handle, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for event in events:
            writer.write(event_bytes(event))
        answers = []
        while not answers or (answers[-1] and answers[-1].type != last):
            answers.append(await read_event(reader))
        writer.close()
        server.close()
        await asyncio.sleep(0)
        return answers

    return asyncio.run(asyncio.wait_for(talked(), 60))


def kinds(answers) -> list[str | None]:
    """Their types, each once where it comes several times in a row."""
    found = [answer and answer.type for answer in answers]
    return [kind for kind, before in zip(found, [..., *found], strict=False) if kind != before]


# ---------------------------------------------------------------- what is told


def test_a_ping_comes_back_with_whatever_it_has(speaker):
    data = {"text": "\ud83d", "kind": "any", "self": [1]}
    assert talk(speaker, Event("ping", data), last="pong") == [Event("pong", data)]


def test_what_nobody_knows_is_passed_over(speaker):
    assert kinds(talk(speaker, Event("transcribe", {"name": "x"}), Event("ping"), last="pong")) == ["pong"]


def test_a_program_is_described(speaker):
    (info,) = talk(speaker, Event("describe"), last="info")
    attribution = {"name": "ZipVoice", "url": "https://github.com/k2-fsa/ZipVoice"}
    about = {"attribution": attribution, "installed": True, "version": zipvoice.__version__}
    voices = [
        {"name": name, "description": name, "languages": speaker.languages, "speakers": None, **about}
        for name in speaker.voices.names()
    ]
    assert "low" in [voice["name"] for voice in voices]
    streams = {"supports_synthesize_streaming": True}
    assert info.data == {"tts": [{"name": "zipvoice", "description": "tiny", "voices": voices, **streams, **about}]}


def test_a_text_is_spoken_in_16_bits(speaker):
    start, *chunks, stop = talk(speaker, Event("synthesize", {"text": TEXT, **VOICE}), last="audio-stop")
    assert kinds([start, *chunks, stop]) == ["audio-start", "audio-chunk", "audio-stop"]
    assert start.data == chunks[0].data == {"rate": 24000, "width": 2, "channels": 1}
    sound = joined(speaker.synthesizer.stream(TEXT, speaker.voices.get("low")))
    heard = np.frombuffer(b"".join(chunk.payload for chunk in chunks), "<i2")
    np.testing.assert_allclose(heard, pcm16(sound).ravel(), atol=4)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({}, "invalid_value"),
        ({"text": 5}, "invalid_value"),
        ({"text": TEXT, "voice": "low"}, "invalid_value"),
        ({"text": TEXT, "voice": {"name": 5}}, "invalid_value"),
        ({"text": TEXT, "voice": {"language": ["en"]}}, "invalid_value"),
        ({"text": TEXT, "voice": {"name": "nobody"}}, "voice_not_found"),
        ({"text": TEXT, "text_format": "ssml"}, "invalid_value"),
        ({"text": "one " * 2501, **VOICE}, "text_too_long"),
        ({"text": "ü", **VOICE}, "invalid_text"),
    ],
)
def test_a_text_that_cannot_be_spoken_is_named_and_ends_its_connection(speaker, data, code):
    error, end = talk(speaker, Event("synthesize", data), Event("ping"))
    assert (error.type, error.data["code"], end) == ("error", code, None) and error.data["text"]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (Event("synthesize-start", {"voice": {"name": "nobody"}}), "voice_not_found"),
        (Event("synthesize-start", {"text_format": "ssml"}), "invalid_value"),
        (Event("synthesize-chunk", {"text": TEXT}), "invalid_value"),
    ],
)
def test_a_stream_that_cannot_begin_is_told_so_and_its_connection_stays(speaker, event, code):
    error, _ = talk(speaker, event, Event("ping"), last="pong")
    assert (error.type, error.data["code"]) == ("error", code)


def test_a_failure_of_the_server_is_told_and_its_connection_stays(speaker, monkeypatch, caplog):
    def fail():
        raise RuntimeError("the bucket is gone")

    monkeypatch.setattr(speaker.voices.folder, "names", fail)
    error, _ = talk(speaker, Event("describe"), Event("ping"), last="pong")
    assert error.data["code"] == "internal_error" and "bucket" not in error.data["text"]
    assert "the bucket is gone" in caplog.text


# ---------------------------------------------------------------- streams


def chunks(*texts):
    return [Event("synthesize-chunk", {"text": text}) for text in texts]


def test_a_stream_that_begins_anew_gives_the_first_one_up(speaker):
    begin, stop = Event("synthesize-start", VOICE), Event("synthesize-stop")
    before = speaker.scheduler.metrics()
    answers = talk(speaker, begin, *chunks("one "), begin, *chunks("six ", "two."), stop, last="synthesize-stopped")
    assert kinds(answers) == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
    after = speaker.scheduler.metrics()
    assert (after.cancelled, after.completed) == (before.cancelled + 1, before.completed + 1)


def test_a_stream_of_nothing_has_no_sound(speaker):
    begin, stop = Event("synthesize-start", VOICE), Event("synthesize-stop")
    for events in ([stop], [begin, stop], [begin, *chunks(" ", "\n"), stop]):
        assert kinds(talk(speaker, *events, last="synthesize-stopped")) == ["synthesize-stopped"]


def test_the_whole_text_behind_its_pieces_is_not_spoken_again(speaker):
    begin, stop, whole = (Event(f"synthesize{kind}", {"text": TEXT, **VOICE}) for kind in ("-start", "-stop", ""))
    answers = talk(speaker, begin, *chunks(TEXT), whole, stop, last="synthesize-stopped")
    assert kinds(answers) == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]


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


# ---------------------------------------------------------------- connections


def with_server(speaker, play):
    """Run `play(server, connect)` with a server and what connects to it."""

    async def played():
        home = WyomingServer(speaker)
        server = await asyncio.start_server(home.handle, "127.0.0.1", 0)
        where, writers = server.sockets[0].getsockname(), []

        async def connect(*events):
            reader, writer = await asyncio.open_connection(*where)
            writers.append(writer)
            for event in events:
                writer.write(event_bytes(event))
            return reader, writer

        await play(home, connect)
        for writer in writers:
            writer.close()
        server.close()
        while home._clients:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(played(), 60))


def test_one_connection_too_many_is_closed_and_the_others_stay(speaker, monkeypatch):
    monkeypatch.setattr(wyoming, "MAX_CONNECTIONS", 2)

    async def play(home, connect):
        here = [await connect(Event("ping")) for _ in range(2)]
        for reader, _ in here:
            assert (await read_event(reader)).type == "pong"
        home._clients["closing"] = None  # the third, as long as it is there
        for reader, writer in here:
            for _ in range(2):
                writer.write(event_bytes(Event("ping")))
                assert (await read_event(reader)).type == "pong"
        del home._clients["closing"]
        reader, _ = await connect()
        assert await read_event(reader) is None

    with_server(speaker, play)


def test_a_connection_that_says_nothing_ends(speaker, monkeypatch):
    monkeypatch.setattr(wyoming, "IDLE_SECONDS", 0.05)

    async def play(home, connect):
        reader, _ = await connect()
        assert await read_event(reader) is None

    with_server(speaker, play)


def test_draining_speaks_to_the_end_and_closes_the_rest(speaker):
    async def play(home, connect):
        idle, _ = await connect()
        busy, _ = await connect(Event("synthesize", {"text": TEXT, **VOICE}))
        while not any(client.job for client in home._clients.values()):
            await asyncio.sleep(0.005)
        await home.drain(60)
        heard = []
        while event := await read_event(busy):
            heard.append(event)
        assert kinds(heard) == ["audio-start", "audio-chunk", "audio-stop"]
        assert await read_event(idle) is None and not home._clients
        late, _ = await connect()
        assert await read_event(late) is None

    with_server(speaker, play)


def test_a_client_that_takes_nothing_in_is_cut_off(speaker):
    ended = []

    async def hang():
        await asyncio.sleep(60)

    async def serve():
        transport = SimpleNamespace(abort=lambda: ended.append("abort"))
        writer = SimpleNamespace(
            transport=transport,
            write=lambda data: None,
            drain=hang,
            close=lambda: ended.append("close"),
            get_extra_info=lambda name: ("10.0.0.7", 1),
        )
        reader = asyncio.StreamReader()
        reader.feed_data(event_bytes(Event("ping")))
        hasty = replace(speaker, options=replace(speaker.options, send_seconds=0.01))
        await WyomingServer(hasty).handle(reader, writer)
        assert wyoming._Client(hasty, writer).key == "10.0.0.7"

    asyncio.run(asyncio.wait_for(serve(), 60))
    assert ended == ["abort"]


def test_a_server_that_ends_waits_a_second_for_the_connections_it_closed(speaker, monkeypatch):
    waited, closed = [], []

    async def wait(tasks, timeout=None):
        waited.append((len(tasks), timeout))

    async def drain():
        server = WyomingServer(speaker)
        for job in (None, object()):
            writer = SimpleNamespace(close=lambda: closed.append(len(waited)))
            server._clients[object()] = SimpleNamespace(job=job, writer=writer)
        await server.drain(7.0)

    monkeypatch.setattr(wyoming.asyncio, "wait", wait)
    asyncio.run(drain())
    assert waited == [(1, 7.0), (2, 1.0)]  # the one that speaks, then both
    assert closed == [1, 1]
