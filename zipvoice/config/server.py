# SPDX-License-Identifier: Apache-2.0
"""How the speech server listens, whom it serves, and what it refuses."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")
LAST_PORT = 65535


@dataclass(frozen=True)
class ServerOptions:
    """How the server listens, whom it serves, and what it refuses."""

    host: str = "127.0.0.1"
    """Address to listen at: 127.0.0.1 serves this machine, 0.0.0.0 its networks, which needs a key."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""
    wyoming: int | None = None
    """Port for the Wyoming protocol, by which Home Assistant speaks, at the same address; 0 takes a free one. It knows
    no keys."""
    api_key: str | None = None
    """Key that clients must send, as "Authorization: Bearer KEY". Other users of this machine can see it in the list
    of processes; --api-key-file hides it."""
    api_key_file: Path | None = None
    """File of keys, one on each line; lines that begin with # are left out."""
    allow_anyone: bool = False
    """Serve everybody who can reach the address: listen beyond this machine without a key, or by Wyoming."""
    allow_origin: tuple[str, ...] = ()
    """Web pages from elsewhere that may use the server, as in https://chat.example.org, or "*" for all; those of the
    server itself may always."""
    allow_host: tuple[str, ...] = ()
    """Names by which the server may be called without a key, besides its address and localhost. This keeps web pages
    from reaching it by a name that they make point here."""
    voices: str | None = None
    """Folder of the voices that clients upload, here or, as in s3://bucket/voices, wherever fsspec reaches; by default
    that of `zipvoice voice`."""
    voice_alias: tuple[str, ...] = ()
    """Other names of voices, as in alloy=kathleen."""
    max_characters: int = 10_000
    """Longest text of a request."""
    max_upload_bytes: int = 10_000_000
    """Largest recording; a body may be half as large again, which base64 needs."""
    max_recording_seconds: float = 60.0
    """Longest recording of a voice."""
    max_voices: int = 1000
    """Uploaded voices kept at most."""
    max_connections: int = 1000
    """Connections at a time; more are closed as they come."""
    receive_seconds: float = 60.0
    """A request must have arrived within this time, its head within a sixth of it."""
    send_seconds: float = 60.0
    """A client that takes in nothing for so long is let go."""
    request_seconds: float = 300.0
    """A stream must have begun within this time, and other speech be finished, unless the request asks for less."""
    drain_seconds: float = 30.0
    """When told to end, the server finishes what it is speaking for at most this long."""
    log_requests: bool = False
    """Write a line about each request to the log: its id (the header X-Request-Id), what it was answered, how many
    bytes, in which time."""
    log_texts: bool = False
    """Write the texts of requests to the log."""

    def __post_init__(self) -> None:
        for name in (
            "max_characters",
            "max_upload_bytes",
            "max_recording_seconds",
            "max_connections",
            "receive_seconds",
            "send_seconds",
            "request_seconds",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("max_voices", "drain_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for option, port in (("--port", self.port), ("--wyoming", self.wyoming or 0)):
            if not 0 <= port <= LAST_PORT:
                raise ValueError(f"{option} must be from 0 to {LAST_PORT}, not {port}")
        if self.api_key is not None and not self.api_key.strip():
            raise ValueError("the key is empty; leave out --api-key for none")
        if self.is_open and not self.allow_anyone and not self.has_keys:
            raise ValueError(
                f"at {self.host} everybody in the network could use this server: give --api-key-file, or "
                "--allow-anyone if that is what you want"
            )
        if self.is_open and self.wyoming is not None and not self.allow_anyone:
            raise ValueError(
                f"Wyoming knows no keys, and at {self.host} everybody in the network could use it: add --allow-anyone "
                "if that is what you want"
            )
        for origin in self.allow_origin:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"--allow-origin takes the beginning of an address, as in https://chat.example.org, not {origin!r}"
                )
        for alias in self.voice_alias:
            if not all(alias.partition("=")):
                raise ValueError(f"--voice-alias takes NAME=VOICE, not {alias!r}")

    @property
    def has_keys(self) -> bool:
        return self.api_key is not None or self.api_key_file is not None

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach the address."""
        if self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True

    def keys(self) -> tuple[str, ...]:
        """All keys that are accepted. Raises ValueError for a file without any, or that is no UTF-8."""
        keys = [self.api_key.strip()] if self.api_key else []
        if self.api_key_file is not None:
            try:
                text = self.api_key_file.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError:
                raise ValueError(f"{self.api_key_file} is not UTF-8; save it as such") from None
            lines = [line.strip() for line in text.splitlines()]
            found = [line for line in lines if line and not line.startswith("#")]
            if not found:
                raise ValueError(f"{self.api_key_file} holds no key; write one on a line of its own")
            keys += found
        return tuple(keys)

    def aliases(self) -> dict[str, str]:
        """Voices by their other names."""
        return {name: voice for name, _, voice in (alias.partition("=") for alias in self.voice_alias)}
