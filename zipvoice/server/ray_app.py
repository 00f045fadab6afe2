# SPDX-License-Identifier: Apache-2.0
"""The server on many machines: a Ray Serve application whose replicas come and go with the requests that wait.

    serve run zipvoice.server.ray_app:build model=zipvoice_distill voices=/shared/voices api_key_file=/shared/keys

Each replica is a whole server: its own model, its own scheduler, which batches what Ray gives it. Replicas share
nothing but the folder of voices. A request belongs to one replica, which answers it or not at all: if it dies, the
client sees an answer that is cut off, and may send the request again, as OpenAI's clients do. Ray gives each request
the header X-Request-Id, unless its client does, and replicas write it beside what they answered to their logs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zipvoice.config.server import ServerOptions
from zipvoice.config.strict_json import from_dict
from zipvoice.server.admission import SchedulerLimits

if TYPE_CHECKING:
    from fastapi import FastAPI

LOOK_BACK_SECONDS = 10.0
"""Open requests are averaged over so long."""


@dataclass(frozen=True)
class RaySettings:
    """What `serve run` takes as NAME=VALUE."""

    model: str = "zipvoice_small_distill"
    """A model directory, or the name of a model."""
    runtime: str = "auto"
    """What computes, see `zipvoice say --help`."""
    device: str | None = None
    """cpu, cuda."""
    voices: str | None = None
    """Folder of uploaded voices that all machines share: a mounted one, or an address such as s3://bucket/voices."""
    api_key_file: str | None = None
    """File of keys, one on each line; without one the proxies of Ray serve everybody who can reach them."""
    queue_seconds: float = 30.0
    """A replica refuses a request while those before it take longer than this: longer than for a server that is alone,
    as replicas are added for requests that wait, and not for those that were refused."""
    min_replicas: int = 1
    """Replicas that are always there."""
    max_replicas: int = 8
    """Replicas that are made at most."""
    requests_per_replica: float = 4.0
    """Open requests of a replica on average, spoken or waiting; replicas are added while there are more."""
    upscale_seconds: float = 10.0
    """Replicas are added when there were too many requests for so long."""
    downscale_seconds: float = 300.0
    """And taken away when there were too few for so long."""
    num_cpus: float = 1
    """Processors of a replica."""
    num_gpus: float = 0
    """GPUs of a replica."""


def build(arguments: dict[str, str]) -> Any:
    """The application, for `serve run` and `serve.run`. Raises ValueError for a setting that there is not."""
    try:
        from ray import serve
    except ImportError:
        raise ImportError('Ray Serve is not installed: pip install "ray[serve]"') from None
    settings = from_dict(RaySettings, {name: _value(name, text) for name, text in arguments.items()})

    def app() -> "FastAPI":  # Ray knows a maker of applications by its being a plain function
        return application(settings)

    class Replica:
        """A process of the cluster that speaks."""

    deployed = serve.deployment(
        name="zipvoice",
        autoscaling_config={
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": settings.requests_per_replica,
            "upscale_delay_s": settings.upscale_seconds,
            "downscale_delay_s": settings.downscale_seconds,
            "metrics_interval_s": min(settings.upscale_seconds, LOOK_BACK_SECONDS) / 2,
            "look_back_period_s": min(settings.upscale_seconds, LOOK_BACK_SECONDS),
        },
        max_ongoing_requests=SchedulerLimits.max_requests,
        graceful_shutdown_timeout_s=ServerOptions.drain_seconds,
        ray_actor_options={"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus},
    )
    return deployed(serve.ingress(app)(Replica)).bind()


def application(settings: RaySettings) -> "FastAPI":
    """What a replica runs: made in it, with its own model and scheduler."""
    from zipvoice.server.app import build_app
    from zipvoice.server.scheduler import Scheduler
    from zipvoice.server.speaker import Speaker
    from zipvoice.server.voice_folders import folder_at
    from zipvoice.server.voice_store import VoiceStore
    from zipvoice.synthesis import voices
    from zipvoice.synthesis.synthesizer import load

    keys = Path(settings.api_key_file) if settings.api_key_file else None
    options = ServerOptions(host="0.0.0.0", api_key_file=keys, allow_anyone=keys is None)
    synthesizer = load(settings.model, runtime=settings.runtime, device=settings.device)
    scheduler = Scheduler(synthesizer, limits(settings, synthesizer.model.evaluations_at_once))
    store = VoiceStore(folder_at(settings.voices or voices.folder()))
    speaker = Speaker(synthesizer, scheduler, store, Path(settings.model).name, options)
    return build_app(speaker, options.keys(), tells_ids=False)


def limits(settings: RaySettings, evaluations_at_once: int) -> SchedulerLimits:
    """Of a replica, which leaves the processors that are not its own to others."""
    evaluators = max(1, min(evaluations_at_once, int(settings.num_cpus)))
    return SchedulerLimits(queue_seconds=settings.queue_seconds, burst_seconds=0, num_evaluators=evaluators)


def _value(name: str, text: str) -> Any:
    """A setting as its field has it; `from_dict` checks it."""
    kind = RaySettings.__annotations__.get(name)
    try:
        return kind(text) if kind in (int, float) else text
    except ValueError:
        raise ValueError(f"{name} must be a number, not {text!r}") from None
