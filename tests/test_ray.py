# SPDX-License-Identifier: Apache-2.0
"""Replicas of the server on a cluster of two nodes: they come with the requests, share voices, and may die."""

import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from tiny_models import tone

import zipvoice
from zipvoice.audio.files import encode, pcm16
from zipvoice.server.ray_app import build
from zipvoice.synthesis.synthesizer import joined

pytest.importorskip("ray", reason='needs Ray: pip install "ray[serve]"')
pytestmark = pytest.mark.slow

PORT = 8765
TEXTS = ("Yes, please.", "Not today.", "Who is there?", "Good morning.")
SETTINGS = {"min_replicas": "1", "max_replicas": "2", "requests_per_replica": "2", "upscale_seconds": "1"}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Where an application on a head and a second node answers, each node with room for one replica."""
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(build({**SETTINGS, "voices": f"file://{tmp_path_factory.mktemp('voices')}"}))
    yield f"http://127.0.0.1:{PORT}"
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


def replicas() -> list[str]:
    import ray

    names = (actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True))
    return sorted(name for name in names if name.startswith("SERVE_REPLICA"))


def wait_until(condition) -> None:
    until = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def answered() -> Counter[str]:
    """How often replicas, those that died too, say that they have answered a request with speech, by its id."""
    import ray

    logs = Path(ray._private.worker._global_node.get_logs_dir_path()) / "serve"
    texts = [path.read_text() for path in logs.glob("replica_*.log")]
    assert len(texts) >= 2
    return Counter(name for text in texts for name in re.findall(r"(\S+) -- POST /v1/audio/speech 200 ", text))


class Crowd:
    """Clients who send each request again until it is answered, each time by another id."""

    def __init__(self, url: str) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)
        self.answers: dict[int, bytes] = {}
        self.ids: dict[int, str] = {}
        """Of the sending that was answered."""
        self.num_sent: Counter[int] = Counter()

    def ask(self, number: int) -> None:
        fields = {"num_steps": 1, "seed": 7}
        asked = {"model": "tts-1", "voice": "heart", "response_format": "pcm", "extra_body": fields}
        speak = self.client.audio.speech.with_raw_response.create
        until = time.monotonic() + 90
        while number not in self.answers and time.monotonic() < until:
            self.num_sent[number] += 1
            name = {"X-Request-Id": f"{number}-{self.num_sent[number]}"}
            try:
                answer = speak(input=TEXTS[number % len(TEXTS)], extra_headers=name, **asked)
                self.answers[number], self.ids[number] = answer.content, answer.headers["x-request-id"]
            except (openai.InternalServerError, openai.RateLimitError, openai.APIConnectionError, httpx.HTTPError):
                time.sleep(0.2)

    def ask_all(self, count: int) -> None:
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(self.ask, range(count)))


def test_requests_bring_a_second_replica_and_none_is_lost_when_one_is_killed(url):
    import ray

    (first,) = replicas()
    crowd, count = Crowd(url), 80
    asking = threading.Thread(target=crowd.ask_all, args=[count])
    asking.start()
    wait_until(lambda: len(replicas()) == 2)
    spoken_by_two = len(crowd.answers)
    wait_until(lambda: len(crowd.answers) >= spoken_by_two + 10)
    ray.kill(ray.get_actor(first, namespace="serve"), no_restart=False)
    asking.join()
    assert crowd.num_sent.total() > count and spoken_by_two + 10 <= count - 8  # it was killed under load
    assert crowd.answers.keys() == set(range(count))
    times = answered()
    last_sent = {number: f"{number}-{sent}" for number, sent in crowd.num_sent.items()}
    assert crowd.ids == last_sent  # what was heard was never sent again
    assert [times[name] for name in crowd.ids.values()] == [1] * count
    assert set(times.values()) == {1}, times  # nor is one whose answer was lost spoken by two
    synthesizer = zipvoice.load()
    sounds = [pcm16(joined(synthesizer.stream(text, num_steps=1, seed=7))).ravel() for text in TEXTS]
    for number, answer in crowd.answers.items():
        np.testing.assert_allclose(np.frombuffer(answer, "<i2"), sounds[number % len(TEXTS)], atol=200)


def test_replicas_share_the_voices(url):
    wait_until(lambda: len(replicas()) == 2)
    form = {"consent": "I am the speaker", "name": "me", "ref_text": "a low tone"}
    files = {"audio_sample": encode(tone(1.0), ".wav")}
    assert httpx.post(f"{url}/v1/audio/voices", data=form, files=files, timeout=60).status_code == 200
    body = {"input": "Yes.", "voice": "me", "num_steps": 1, "seed": 7, "response_format": "pcm"}
    answers = [httpx.post(f"{url}/v1/audio/speech", json=body, timeout=60) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"), [("modle", "x", "did you mean 'model'"), ("num_gpus", "a", "number")]
)
def test_settings_are_checked(name, value, message):
    with pytest.raises(ValueError, match=message):
        build({name: value})
