# SPDX-License-Identifier: Apache-2.0
"""The page of the speech server: what its files hold, and what a browser does with it."""

import re
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from server_process import HELLO

from zipvoice.audio.files import decode
from zipvoice.server.service_routes import PAGE, PAGE_FILES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browsers = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium browser: apt-get install chromium")


def text_of(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def test_the_page_is_three_small_files_that_load_nothing_from_elsewhere():
    texts = {name: text_of(name) for name in PAGE_FILES.values()}
    assert sum(len(text.encode()) for text in texts.values()) < 60_000
    assert set(texts) == {path.name for path in PAGE.iterdir()}
    for text in texts.values():
        assert not re.search(r"https?://|url\(|@import|//cdn", text)


def test_every_element_that_the_script_names_is_on_the_page():
    named = set(re.findall(r'\$\("([\w-]+)"\)', text_of("app.js")))
    present = re.findall(r'\bid="([\w-]+)"', text_of("index.html"))
    assert named <= set(present)
    assert len(present) == len(set(present))


def test_every_field_of_the_page_has_a_label():
    page = text_of("index.html")
    fields = re.findall(r'<(?:input|select|textarea)\b[^>]*\bid="([\w-]+)"', page)
    wrapped = re.findall(r'<label class="check"><input id="([\w-]+)"', page)
    assert len(fields) > 10
    assert set(fields) == {*re.findall(r'<label for="([\w-]+)"', page), *wrapped}


def test_no_button_is_disabled_and_loses_the_focus():
    """They are marked by aria-disabled."""
    assert not re.search(r"\.disabled\b", text_of("app.js"))
    assert not re.search(r"\sdisabled\b", text_of("index.html"))


def test_the_routes_of_the_page_are_routes_of_the_server(server):
    script = text_of("app.js")
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    asked = set(re.findall(r"\"(v1/[\w/]+)\"", script))
    assert asked == {"v1/audio/speech", "v1/audio/dialogue", "v1/audio/voices", "v1/models"}
    assert {f"/{path}" for path in asked} <= set(paths)
    assert not {*PAGE_FILES, "/docs"} & set(paths)  # for people, not for programs


def test_the_page_of_routes_tells_types_limits_and_defaults(server):
    rows = re.findall(r"<tr><td><code>(\w+)</code><td>([^<]*)<td>([^<]*)<td>", httpx.get(f"{server.url}/docs").text)
    told = {name: (kind, default) for name, kind, default in rows}
    assert told["stream_format"] == ("audio, sse", "audio")
    assert told["input"] == ("string", "required")
    assert told["num_steps"] == ("integer ≥ 1 ≤ 64", "")


def test_the_page_is_served_with_a_policy_that_keeps_it_to_itself(server):
    for path, name in PAGE_FILES.items():
        answer = httpx.get(f"{server.url}{path}")
        assert answer.text == text_of(name)
        assert "default-src 'self'" in answer.headers["content-security-policy"]


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """The page, whose voices are listed; whatever it loads from elsewhere or throws fails the test."""
    with browser.new_context(accept_downloads=True) as context:
        page, faults = context.new_page(), []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request",
            lambda sent: None if sent.url.startswith((server.url, "blob:", "data:")) else faults.append(sent.url),
        )
        page.goto(server.url)
        page.wait_for_selector("#voice option", state="attached")
        yield page
        assert faults == []


def choose(page, **fields: str) -> None:
    page.click("summary")
    for name, value in fields.items():
        page.fill(f"#{name}", value)


def spoken(page, button: str = "#speak") -> bytes:
    """Press a button, wait for the end, and download what was said."""
    page.click(button)
    page.wait_for_selector("#result:not([hidden])", timeout=90_000)
    with page.expect_download() as download:
        page.click("#download")
    return Path(download.value.path()).read_bytes()


@browsers
@pytest.mark.browser
@pytest.mark.slow
def test_it_speaks_what_the_route_gives_and_shows_it(page, server):
    choose(page, steps="1", seed="7")
    page.fill("#text", HELLO)
    heard = decode(spoken(page))
    asked = {"input": HELLO, "response_format": "wav", "num_steps": 1, "seed": 7, "voice": page.input_value("#voice")}
    expected = decode(httpx.post(f"{server.url}/v1/audio/speech", json=asked, timeout=90).content)
    np.testing.assert_allclose(heard.samples, expected.samples, atol=2e-4)
    assert f"{heard.seconds:.2f} s of speech" in page.inner_text("#told")
    assert f"{heard.seconds:.2f} s in" in page.inner_text("#caption")
    drawn = page.evaluate("""() => ["wave", "spectrogram"].map((id) => {
      const c = document.getElementById(id), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      return new Set(new Uint32Array(d.buffer)).size })""")
    assert drawn[0] >= 2 and drawn[1] > 50


@browsers
@pytest.mark.browser
@pytest.mark.slow
def test_it_shows_the_sound_before_the_end_and_stops_when_told(page):
    choose(page, steps="16")
    page.fill("#text", "It was a long day, and nobody knew how it would end. " * 12)
    page.click("#speak")
    page.wait_for_selector("#told:text-matches('^Speaking')", timeout=90_000)
    assert page.is_visible("#wave") and page.is_hidden("#result")
    page.keyboard.press("Escape")
    page.wait_for_selector("#told:text-is('Stopped.')")
    assert page.is_hidden("#result") and page.is_enabled("#speak")


def focused(page) -> str:
    return page.evaluate("document.activeElement.id || document.activeElement.tagName")


@browsers
@pytest.mark.browser
@pytest.mark.slow
def test_the_focus_stays_where_a_key_was_pressed(page):
    choose(page, steps="1")
    page.fill("#text", "It was a long day, and nobody knew how it would end. " * 12)
    for _ in range(2):  # the second one does nothing
        page.press("#speak", "Enter", no_wait_after=True)
    page.wait_for_selector("#told:text-matches('^Speaking')", timeout=90_000)
    assert focused(page) == "speak"
    page.press("#stop", "Enter")
    page.wait_for_selector("#told:text-is('Stopped.')")
    assert focused(page) == "stop" and page.is_enabled("#speak")
    page.fill("#text", HELLO)
    spoken(page)
    page.focus("#download")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#result:not([hidden])", timeout=90_000)
    assert focused(page) == "speak"


@browsers
@pytest.mark.browser
@pytest.mark.slow
def test_what_stops_stops_all_that_is_heard(page):
    choose(page, steps="1")
    page.fill("#text", HELLO)
    spoken(page)
    page.evaluate("document.getElementById('player').play()")
    page.fill("#text", "It was a long day, and nobody knew how it would end. " * 12)
    held = []
    page.route("**/preview*", lambda route: held.append(route))
    page.click("#hear-voice")
    page.click("#speak")  # before the preview has come, which is given up
    page.wait_for_selector("#told:text-matches('^Speaking')", timeout=90_000)
    assert len(held) == 1 and page.evaluate("document.getElementById('player').paused")
    held[0].abort()
    page.keyboard.press("Escape")
    page.wait_for_selector("#told:text-is('Stopped.')")
    assert page.is_hidden("#error") and page.is_disabled("#stop")


@browsers
@pytest.mark.browser
@pytest.mark.slow
def test_it_tells_what_is_wrong_in_the_servers_words(page):
    choose(page, steps="65")
    page.click("#speak")
    page.wait_for_selector("#error:not([hidden])")
    assert "64" in page.inner_text("#error")
    page.fill("#text", " ")
    page.click("#speak")
    assert "nothing to say" in page.inner_text("#error")


@browsers
@pytest.mark.browser
@pytest.mark.slow
def test_it_keeps_a_voice_speaks_a_dialogue_with_it_and_deletes_it(page, server, tmp_path):
    asked = {"input": "He turned sharply, and faced the others across the table.", "response_format": "wav"}
    recording = tmp_path / "me.wav"
    recording.write_bytes(httpx.post(f"{server.url}/v1/audio/speech", json=asked, timeout=90).content)
    page.click("#tab-voices")
    page.set_input_files("#file", recording)
    page.fill("#transcript", asked["input"])
    page.fill("#name", "page-voice")
    page.check("#consent")
    page.click("#voice-form [type=submit]")
    page.wait_for_selector("text=page-voice is kept on the server", timeout=60_000)
    page.click("#tab-dialogue")
    choose(page, steps="1")
    page.select_option("#voice-b", "page-voice")
    assert decode(spoken(page)).seconds > 2
    page.click("#tab-voices")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("[aria-label='Delete page-voice']")
    page.wait_for_selector("text=page-voice is deleted")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Hear ")
    assert "page-voice" not in httpx.get(f"{server.url}/v1/audio/voices?legacy=true").json()["voices"]
