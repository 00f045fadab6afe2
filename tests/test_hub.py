# SPDX-License-Identifier: Apache-2.0
"""Downloads: the real client against a local server that speaks the hub's protocol."""

import hashlib
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import make_model, make_vocoder

from zipvoice.pretrained import HUB_MODELS, HUB_VOCODER, find_model, find_vocoder, load_pretrained, read_directory
from zipvoice.runtime import select

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "fedcba9876543210fedcba9876543210fedcba98"


@dataclass
class Hub:
    """Serves the folders below `root`, named like repositories, as revision main and as a commit."""

    root: Path
    url: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and range of each request."""
    break_after: int | None = None
    """Bytes after which the next download is cut off."""
    damage: bool = False
    """Change the content on its way."""
    busy: bool = False
    """Answer that nothing is served just now."""

    def downloads(self):
        return [path.rsplit("/", 1)[1] for method, path, _ in self.requests if method == "GET" and "/resolve/" in path]


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self):
        self._answer(with_content=False)

    def do_GET(self):
        self._answer(with_content=True)

    def log_message(self, *_):
        pass

    def _answer(self, with_content):
        hub = self.hub
        hub.requests.append((self.command, self.path, self.headers.get("Range")))
        repository, _, rest = self.path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if hub.busy:
            return self._missing(503, "Busy")
        if not (hub.root / repository).is_dir():
            return self._missing(401, "RepoNotFound")
        if revision not in ("main", COMMIT):
            return self._missing(404, "RevisionNotFound")
        path = hub.root / repository / name
        if not path.is_file():
            return self._missing(404, "EntryNotFound")
        return self._send(path.read_bytes(), path.suffix == ".json", with_content)

    def _missing(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content, is_small, with_content):
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{git if is_small else hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if with_content:
            self._write(content[start:])

    def _write(self, content):
        if self.hub.damage:
            content = bytes([content[0] ^ 1]) + content[1:]
        if self.hub.break_after is not None and len(content) > self.hub.break_after:
            self.wfile.write(content[: self.hub.break_after])
            self.hub.break_after = None
            self.close_connection = True
            self.connection.close()
        else:
            self.wfile.write(content)


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    make_model(root / HUB_MODELS / "zipvoice")
    make_vocoder(root / HUB_VOCODER)
    return root


@pytest.fixture
def hub(repositories, tmp_path, monkeypatch):
    """A server, and a client that knows only it and has an empty cache."""
    from huggingface_hub import constants

    hub = Hub(repositories)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


def same_files(directory, origin):
    for path in origin.iterdir():
        assert (directory / path.name).read_bytes() == path.read_bytes()


def test_a_released_model_is_downloaded_once(hub, tmp_path, monkeypatch):
    (tmp_path / "zipvoice").mkdir()  # as beside a checkout of this package
    monkeypatch.chdir(tmp_path)
    directory = find_model("zipvoice")
    same_files(directory, hub.root / HUB_MODELS / "zipvoice")
    assert sorted(hub.downloads()) == ["model.json", "model.safetensors", "tokens.txt"]
    assert find_model("zipvoice") == directory
    assert len(hub.downloads()) == 3
    assert load_pretrained("zipvoice").variant == "zipvoice"


def test_the_vocoder_is_downloaded_once(hub):
    same_files(find_vocoder("zipvoice"), hub.root / HUB_VOCODER)
    find_vocoder("zipvoice")
    assert sorted(hub.downloads()) == ["config.yaml", "model.safetensors"]


def test_weights_in_the_other_format_are_found_and_stay_found_without_a_connection(hub, tmp_path, monkeypatch):
    from huggingface_hub import constants

    hub.root = tmp_path / "hub"
    make_model(hub.root / HUB_MODELS / "zipvoice")
    folder = hub.root / HUB_MODELS / "zipvoice"
    (folder / "model.safetensors").rename(folder / "model.pt")
    directory = find_model("zipvoice")
    assert (directory / "model.pt").is_file()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(hub.requests)
    assert find_model("zipvoice") == directory
    assert len(hub.requests) == before


@pytest.fixture
def of_pytorch(hub, tmp_path):
    """The hub, with weights of model and vocoder in the form that only PyTorch reads; their names and tensors."""
    hub.root = tmp_path / "hub"
    make_model(hub.root / HUB_MODELS / "zipvoice")
    make_vocoder(hub.root / HUB_VOCODER)
    weights = {}
    for name, key in ((f"{HUB_MODELS}/zipvoice/model.pt", "model"), (f"{HUB_VOCODER}/pytorch_model.bin", None)):
        path = (hub.root / name).with_name("model.safetensors")
        saved = load_file(path)
        first, *others = (n for n, value in saved.items() if n.endswith("bias") and value.shape == (16,))
        saved |= dict.fromkeys(others, saved[first])  # in the same memory
        torch.save({key: saved} if key else saved, hub.root / name)
        weights[name] = saved
        path.unlink()
    return weights


def test_weights_that_only_pytorch_reads_are_kept_as_safetensors_too(of_pytorch):
    for find, weights in zip((find_model, find_vocoder), of_pytorch.values(), strict=True):
        path = find("zipvoice") / "model.safetensors"
        kept = load_file(path)
        assert kept.keys() == weights.keys() and all(torch.equal(kept[name], weights[name]) for name in kept)
        os.utime(path, (0, 0))
        assert find("zipvoice") == path.parent and path.stat().st_mtime == 0


def test_without_pytorch_what_was_downloaded_names_both_ways(of_pytorch, monkeypatch):
    monkeypatch.setitem(sys.modules, "zipvoice.weights", None)  # importing it raises ImportError
    monkeypatch.setattr(select, "_has_pytorch", lambda: False)
    directory = read_directory("zipvoice")
    assert not (directory.path / "model.safetensors").exists()
    with pytest.raises(
        ImportError, match=r"model\.pt: pip install 'zipvoice-tts\[torch\]', or make graphs .* zipvoice export"
    ):
        select.load_model(directory)


def test_without_a_connection_the_cache_serves_and_what_it_lacks_is_named(hub, monkeypatch):
    from huggingface_hub import constants

    directory = find_model("zipvoice")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(hub.requests)
    assert find_model("zipvoice") == directory
    with pytest.raises(OSError, match=r"could not download charactr/vocos-mel-24khz: .*local directory"):
        find_vocoder("zipvoice")
    assert len(hub.requests) == before


def offline(monkeypatch, url):
    """Let the client ask there, and note how long it would have waited between its tries."""
    from huggingface_hub import constants

    waits: list[float] = []
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", waits.append)
    return waits


@pytest.mark.parametrize("find", [find_model, find_vocoder])
def test_a_server_that_is_not_there_is_told_at_once_with_the_mirror_setting(hub, monkeypatch, find):
    waits = offline(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"could not download [\w/-]+: .*refused.*HF_ENDPOINT"):
        find("zipvoice")
    assert waits == []


def test_a_server_that_is_busy_is_asked_once(hub, monkeypatch):
    waits = offline(monkeypatch, hub.url)
    hub.busy = True
    with pytest.raises(OSError, match=r"could not download k2-fsa/ZipVoice/zipvoice: .*503"):
        find_model("zipvoice")
    assert waits == [] and len(hub.requests) == 1


def test_a_server_that_never_answers_is_given_up(hub, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        waits = offline(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr("zipvoice.hub.PATIENCE", 0.2)
        with pytest.raises(OSError, match=r"could not download .*: (no answer within 0.2 s|.*timed out).*HF_ENDPOINT"):
            find_model("zipvoice")
    assert waits == []


def test_a_name_that_is_looked_up_for_ever_is_given_up(hub, monkeypatch):
    """As without a network, where the servers of names are asked in vain, one after the other."""
    found = threading.Event()
    offline(monkeypatch, "http://hub.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found.wait())
    monkeypatch.setattr("zipvoice.hub.PATIENCE", 0.2)
    with pytest.raises(OSError, match=r"could not download .*: no answer within 0.2 s \(HF_HUB_ETAG_TIMEOUT"):
        find_model("zipvoice")
    found.set()


def test_a_broken_download_is_resumed(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    hub.break_after = 5000
    same_files(find_model("zipvoice"), hub.root / HUB_MODELS / "zipvoice")
    assert any(span and span.startswith("bytes=4096") for _, _, span in hub.requests)


@pytest.mark.parametrize("name", ["zipvoice", "vocoder"])
def test_a_damaged_file_is_refused_and_fetched_again(hub, name):
    find = find_vocoder if name == "vocoder" else find_model
    hub.damage = True
    with pytest.raises(OSError, match=r"could not download .* arrived damaged and was removed; try again"):
        find("zipvoice")
    hub.damage = False
    same_files(find("zipvoice"), hub.root / (HUB_VOCODER if name == "vocoder" else f"{HUB_MODELS}/zipvoice"))


def test_a_revision_can_be_pinned_and_an_unknown_one_is_named(hub):
    assert COMMIT in str(find_model("zipvoice", COMMIT))
    assert not any("/resolve/main/" in path for _, path, _ in hub.requests)
    with pytest.raises(OSError, match=f"could not download k2-fsa/ZipVoice/zipvoice at revision {OLDER}"):
        find_model("zipvoice", OLDER)


def test_a_model_or_repository_that_the_server_lacks_is_named(hub, tmp_path):
    with pytest.raises(OSError, match=r"could not download k2-fsa/ZipVoice/zipvoice_distill: "):
        find_model("zipvoice_distill")
    hub.root = tmp_path / "nothing"
    with pytest.raises(OSError, match=r"could not download k2-fsa/ZipVoice/zipvoice: "):
        find_model("zipvoice")


@pytest.mark.slow
def test_the_environment_names_server_and_cache(hub, tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    code = "from zipvoice.pretrained import find_model; print(find_model('zipvoice'))"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert str(tmp_path / "home") in run.stdout
    offline = {**environment, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    again = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True, check=True)
    assert again.stdout == run.stdout


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_what_is_cached_is_used_without_asking_anybody(hub, tmp_path, suffix):
    """Also where the first kind of weights was found absent; the server may be far away, or not there at all."""
    if suffix == "pt":
        hub.root = tmp_path / "hub"
        folder = hub.root / HUB_MODELS / "zipvoice"
        make_model(folder)
        make_vocoder(hub.root / HUB_VOCODER)
        (folder / "model.safetensors").rename(folder / "model.pt")
    found = find_model("zipvoice"), find_vocoder("zipvoice")
    before = len(hub.requests)
    assert (find_model("zipvoice"), find_vocoder("zipvoice")) == found
    assert len(hub.requests) == before


class OddError(Exception):
    """As the client's HTTP library raises: none of the usual kinds."""


@pytest.mark.parametrize(
    "error", [OddError("peer closed connection"), RuntimeError(), KeyError("etag"), OSError(28, "x")]
)
def test_whatever_a_download_raises_becomes_one_line(hub, monkeypatch, error):
    import huggingface_hub

    def broken(*arguments, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    for find in (find_model, find_vocoder):
        with pytest.raises(OSError, match=r"could not download .*local directory instead$") as told:
            find("zipvoice")
        assert "\n" not in str(told.value)


def test_an_interrupted_download_is_an_interrupt(hub, monkeypatch):
    import huggingface_hub

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find_model("zipvoice")
