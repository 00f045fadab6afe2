# SPDX-License-Identifier: Apache-2.0
"""The voices that a server keeps: how many, and under which names."""

import fsspec
import pytest

from zipvoice import builtin
from zipvoice.server import voice_store
from zipvoice.server.errors import ApiError
from zipvoice.server.voice_folders import LocalFolder, SharedFolder, folder_at
from zipvoice.server.voice_store import CACHED_PROMPTS, VoiceStore, details_of


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


def refusal(call, *given):
    """Status, code and field of what is refused."""
    with pytest.raises(ApiError) as caught:
        call(*given)
    return caught.value.status_code, caught.value.code, caught.value.param, caught.value.message


def test_each_voice_that_cannot_speak_has_its_reason(speaker, tmp_path, monkeypatch):
    store = VoiceStore(folder_at(tmp_path), {"alloy": "nobody"})
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    found = refusal(store.get, builtin.VOICE + "s")
    assert found[:3] == (404, "voice_not_found", "voice") and f"did you mean '{builtin.VOICE}'" in found[3]
    assert refusal(store.get, "x" * 100)[3].startswith(f"there is no voice '{'x' * 80}'; known: {builtin.VOICE}, ")
    assert refusal(store.get, "alloy")[:3] == (404, "voice_not_found", "voice")
    assert refusal(store.get, "bad")[:3] == (500, "voice_damaged", "voice")
    monkeypatch.setattr(store.folder, "versions", lambda names: {})  # it was removed meanwhile
    assert refusal(store.get, "bad") == (404, "voice_not_found", "voice", "there is no voice 'bad' any more")


def test_names_that_cannot_be_kept_have_their_reasons(speaker, tmp_path):
    store = VoiceStore(folder_at(tmp_path), {"alloy": "low"}, max_voices=1)
    prompt, details = speaker.voices.get("low"), details_of(b"", "audio/wav", "yes", "a tone", None)
    assert refusal(store.add, "a b", prompt, details)[:3] == (400, "invalid_value", "name")
    for taken in ("alloy", builtin.VOICE):
        assert refusal(store.add, taken, prompt, details)[:3] == (400, "voice_exists", "name")
    store.add("one", prompt, details)
    assert refusal(store.add, "two", prompt, details)[:3] == (400, "too_many_voices", None)
    assert refusal(store.remove, "two")[:3] == (404, "voice_not_found", "name")
    assert refusal(store.remove, builtin.VOICE)[:3] == (403, "voice_is_fixed", "name")
    (tmp_path / "one.json").write_text("{}")
    store.remove("one")
    assert list(tmp_path.iterdir()) == [] and store.names() == list(dict.fromkeys([builtin.VOICE, *builtin.voices()]))


def test_a_voice_is_read_again_only_when_it_has_changed(speaker, tmp_path):
    store, prompt = VoiceStore(folder_at(tmp_path)), speaker.voices.get("low")
    details = details_of(b"", "audio/wav", "yes", "a tone", None)
    store.add("me", prompt, details)
    first = store.get("me")
    assert store.get("me") is first and store.get(None) is store.get(builtin.VOICE) is not None
    store.add("me", prompt, details)
    assert store.get("me") is not first


def test_a_head_that_claims_to_be_huge_is_not_read(speaker, tmp_path, monkeypatch):
    store = VoiceStore(folder_at(tmp_path))
    details = details_of(b"", "audio/wav", "yes", "a tone", None)
    store.add("me", speaker.voices.get("low"), details)
    data = (tmp_path / "me.safetensors").read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    monkeypatch.setattr(voice_store, "HEAD_BYTES", 8)
    for most, known in ((length - 1, None), (length, details)):
        monkeypatch.setattr(voice_store, "MOST_HEAD_BYTES", most)
        assert VoiceStore(folder_at(tmp_path)).uploaded() == {"me": known}


# ---------------------------------------------------------------- folders


def test_an_address_says_what_kind_of_folder_it_is(tmp_path):
    for where in (tmp_path, str(tmp_path), f"file://{tmp_path}"):
        folder = folder_at(where)
        assert isinstance(folder, LocalFolder) and folder.path == tmp_path
    folder = folder_at("memory://voices/ours")
    assert isinstance(folder, SharedFolder) and folder.root == "/voices/ours"


@pytest.fixture(params=["folder", "memory://voices"])
def folder(request, tmp_path):
    yield folder_at(tmp_path / "voices" if request.param == "folder" else request.param)
    fsspec.filesystem("memory").store.clear()


def write(folder, name, content):
    with folder.writing(name) as path:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def test_a_folder_has_files_by_their_names(folder):
    assert folder.names() == [] and folder.versions(["b"]) == {}
    for name in ("b", "c", "a", ".hidden"):
        write(folder, name, f"of {name}".encode())
    assert folder.names() == ["a", "b", "c"]
    assert folder.beginnings(["b", "gone", "a"], 4) == [b"of b", b"", b"of a"]
    assert folder.beginnings(["b"], 2) == [b"of"]
    with folder.reading("b") as path:
        assert (path.name, path.read_bytes()) == ("b", b"of b")
    folder.remove("b")
    folder.remove("b")
    assert folder.names() == ["a", "c"]
    with pytest.raises(FileNotFoundError), folder.reading("b") as path:
        path.read_bytes()


def test_the_version_of_a_file_changes_with_it_alone(folder):
    for name in ("a", "b"):
        write(folder, name, b"1")
    before = folder.versions(["a", "b", "gone"])
    assert set(before) == {"a", "b"} and before["a"] != before["b"]
    assert before == folder.versions(["b", "a"]) and folder.versions(["a"]) == folder.versions(["a"])
    write(folder, "a", b"22")
    after = folder.versions(["a", "b"])
    assert after["a"] != before["a"] and after["b"] == before["b"]
    assert folder.versions([]) == {}


def test_one_file_is_looked_up_without_a_list_of_all(monkeypatch):
    folder = folder_at("memory://voices")
    write(folder, "a", b"1")
    monkeypatch.setattr(type(folder.storage), "ls", None)
    assert set(folder.versions(["a"])) == {"a"} and folder.versions(["b"]) == {}
    fsspec.filesystem("memory").store.clear()


def test_nothing_of_a_storage_is_remembered(monkeypatch):
    """Other machines write there too."""
    asked, known = [], fsspec.core.url_to_fs
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda where, **given: asked.append(given) or known(where))
    folder = folder_at("memory://voices")
    monkeypatch.setattr(type(folder.storage), "invalidate_cache", lambda self: asked.append("anew"))
    folder.names()
    folder.versions(["a"])
    assert asked == [{"use_listings_cache": False}, "anew", "anew"]
