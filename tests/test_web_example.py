# SPDX-License-Identifier: Apache-2.0
"""The page of examples/web: what it is told, and that a browser speaks with it as this package does."""

import functools
import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import zipvoice
from zipvoice import builtin
from zipvoice.config.export import ExportOptions
from zipvoice.export.onnx import export_onnx
from zipvoice.synthesis.sampling import initial_noise
from zipvoice.synthesis.voices import default

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "web"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TEXT = "The voice is made here, in this page."


def test_words_are_read_as_in_texts():
    synthesizer = zipvoice.load()
    speech = json.loads(json.dumps(runpy.run_path(str(EXAMPLE / "make.py"))["describe"](synthesizer, "heart", TEXT)))
    space, stop, comma = (speech["marks"][mark] for mark in " .,")
    ids: list[int] = []
    for word in re.findall(r"\w+|,", TEXT.lower()):
        ids += [comma] if word == "," else [*([space] if ids else []), *speech["words"][word]]
    assert [*ids, stop] == synthesizer.table.ids(synthesizer.tokenizer.tokens(TEXT))
    assert speech["times"][0] == 0 and speech["times"][-1] == 1 and len(speech["times"]) == 4
    assert speech["voice"]["ids"] == list(synthesizer.voice(default()).ids)


def test_the_page_asks_nothing_of_other_servers_and_is_small():
    texts = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLE.iterdir() if path.is_file()}
    assert set(texts) == {"README.md", "index.html", "make.py", "speak.js", ".gitignore"}
    assert sum(map(len, texts.values())) < 30_000
    assert not re.search(r"https?://|//cdn", texts["index.html"] + texts["speak.js"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the example, made ready with the words of one text."""
    if not (CHROMIUM and shutil.which("npm")):
        pytest.skip("needs a Chromium browser and npm: apt-get install chromium npm")
    folder = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("example") / "web", ignore=shutil.ignore_patterns("made"))
    (folder / "words.txt").write_text(TEXT)
    subprocess.run([sys.executable, folder / "make.py", "--words", folder / "words.txt"], check=True)
    export_onnx(ExportOptions(builtin.MODELS[0], str(folder / "exact"), vocoder=builtin.VOCODER))
    return folder


class Quiet(SimpleHTTPRequestHandler):
    """Without a line for each request."""

    def log_message(self, *arguments):
        pass


@pytest.fixture
def page(folder):
    """The page when it is ready; whatever it throws or loads from elsewhere fails the test."""
    from playwright.sync_api import sync_playwright

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home, faults = f"http://127.0.0.1:{server.server_port}/", []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(240_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith((home, "blob:")) or faults.append(asked.url))
        page.goto(home)
        page.wait_for_function("document.querySelector('#speak').disabled === false")
        yield page
        browser.close()
    server.shutdown()
    server.server_close()
    assert faults == []


SPEAK_EXACTLY = """async ([ids, noise]) => {
  const graphs = speaker.graphs, rough = graphs.velocity;
  graphs.velocity = await rough.constructor.create("exact/velocity.onnx");
  const samples = await speaker.speak(ids, { noise: Float32Array.from(noise) });
  graphs.velocity = rough;
  return Array.from(samples);
}"""
"""In float32, for in 8 bits rounding moves sounds."""


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_speaks_as_this_package_does(page, folder, capsys):
    synthesizer = zipvoice.load(runtime="onnx")
    options = synthesizer.resolved(zipvoice.SynthesisOptions(keep_level=True))
    assert options.sampling != options.sampling.unfiltered
    (chunk,) = synthesizer.plan(TEXT, default(), options)
    assert page.evaluate("text => speaker.read(text)", TEXT) == {"ids": list(chunk.ids), "unknown": []}
    for speed in (0.7, 1.0, 1.3):
        planned = next(synthesizer.plan(TEXT, default(), synthesizer.resolved(zipvoice.SynthesisOptions(speed=speed))))
        assert page.evaluate("([ids, speed]) => speaker.frames(ids, speed)", [chunk.ids, speed]) == planned.num_frames
    noise = initial_noise(chunk).ravel().tolist()
    found = np.array(page.evaluate(SPEAK_EXACTLY, [chunk.ids, noise]))
    (piece,) = zipvoice.load(folder / "exact", runtime="onnx").pieces([chunk], options)
    np.testing.assert_allclose(found, piece.samples[0], atol=2e-3)

    page.fill("#text", "Some other word, and a voice.")
    page.click("#speak")
    page.wait_for_function("document.querySelector('#told').textContent.startsWith('No reading')")
    assert page.inner_text("#told") == "No reading is known for: some, other, word, and, a"
    page.fill("#text", TEXT)
    page.click("#speak")
    page.wait_for_function("/real-time factor/.test(document.querySelector('#told').textContent)")
    size = sum(path.stat().st_size for path in (folder / "made").iterdir()) / 1e6
    with capsys.disabled():
        sys.stdout.write(f"\nexamples/web: {page.inner_text('#told')} {size:.1f} MB in all\n")
