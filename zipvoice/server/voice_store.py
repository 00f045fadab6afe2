# SPDX-License-Identifier: Apache-2.0
"""The voices that a server speaks in: those of the package and those that clients gave it, as files of one folder."""

import json
import logging
import re
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from zipvoice import builtin
from zipvoice.config.strict_json import from_dict, suggestion, to_dict
from zipvoice.server.errors import ApiError, invalid
from zipvoice.server.voice_folders import VoiceFolder
from zipvoice.synthesis.prompt import Prompt

SUFFIX = ".safetensors"
ABOUT = "upload"
"""In the metadata of a voice file, what is known of the upload: one file is replaced as one, whoever else writes it."""
HEAD_BYTES = 1 << 14
"""Of a voice file, read to list it: enough for the head of most."""
MOST_HEAD_BYTES = 1 << 24
CACHED_PROMPTS = 64
LONGEST_NAME = 150
"""Bytes: file systems take 255, of which the rest is for what stands around it while a file is written."""
_NAME = re.compile(r"\w[\w.-]{0,63}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VoiceDetails:
    """What is known of an uploaded voice beside its sound, in its file, or once in `NAME.json` beside it."""

    consent: str
    """What was said of the speaker's consent."""
    created_at: int
    """Seconds since 1970."""
    file_size: int
    """Bytes of the recording."""
    mime_type: str
    """Of the recording, by its content."""
    ref_text: str
    """The transcript."""
    speaker_description: str | None = None


@dataclass
class VoiceStore:
    """Voices by name; usable from several threads, of which one writes at a time.

    Args:
        folder: of the uploaded voices.
        aliases: other names of voices.
        max_voices: uploaded voices kept at most.
    """

    folder: VoiceFolder
    aliases: Mapping[str, str] = field(default_factory=dict)
    max_voices: int = 1000
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _prompts: OrderedDict[object, Prompt] = field(default_factory=OrderedDict, init=False)
    _details: dict[object, VoiceDetails | None] = field(default_factory=dict, init=False)
    """What was read of the files that were there last, by their versions."""

    def uploaded(self) -> dict[str, VoiceDetails | None]:
        """What is known of the uploaded voices by name; None of those that `zipvoice voice` saved."""
        there, known = self.folder.names(), self._details
        versions = self.folder.versions([name for name in there if name.endswith(SUFFIX)])
        new = [name for name, version in versions.items() if version not in known]
        known = known | {versions[name]: details for name, details in zip(new, self._read(new, there), strict=True)}
        self._details = {version: known[version] for version in versions.values()}
        return {name.removesuffix(SUFFIX): known[version] for name, version in versions.items()}

    def _read(self, files: Sequence[str], there: Sequence[str]) -> list[VoiceDetails | None]:
        heads = self.folder.beginnings(files, HEAD_BYTES)
        return [self._details_in(name, head, there) for name, head in zip(files, heads, strict=True)]

    def _details_in(self, name: str, head: bytes, there: Sequence[str]) -> VoiceDetails | None:
        """The details in the head of a voice file, or in the file that was beside it once."""
        length, beside = 8 + int.from_bytes(head[:8], "little"), f"{name.removesuffix(SUFFIX)}.json"
        if len(head) < length <= MOST_HEAD_BYTES:
            (head,) = self.folder.beginnings([name], length)
        try:
            said = json.loads(head[8:length])["__metadata__"].get(ABOUT)
            if said is None and beside in there:
                with self.folder.reading(beside) as path:
                    said = path.read_text(encoding="utf-8")
            return None if said is None else from_dict(VoiceDetails, json.loads(said))
        except (OSError, ValueError, LookupError):
            return None

    def names(self) -> list[str]:
        """All names of voices but the aliases, the one that speaks by default first."""
        return list(dict.fromkeys([builtin.VOICE, *builtin.voices(), *self._saved()]))

    def get(self, name: str | None) -> Prompt:
        """A voice. Raises ApiError naming the nearest of those there are: no other voice speaks in its place.

        What is asked for is looked up among what is there, never made a path.
        """
        asked = builtin.VOICE if name is None else unicodedata.normalize("NFC", name)
        own = self.aliases.get(asked, asked)
        try:
            if (saved := self._prompt(own)) is not None:
                return saved
            if own in builtin.voices():
                path = builtin.voices()[own]
                return self.remembered(path) or self.remember(path, Prompt.load(path))
        except FileNotFoundError:
            raise ApiError(404, f"there is no voice {asked!r} any more", "voice_not_found", "voice") from None
        except ValueError as error:
            logger.error("a voice cannot be read: %s", error)
            message = f"the file of the voice {asked!r} is damaged; upload the voice again"
            raise ApiError(500, message, "voice_damaged", "voice") from None
        if asked in self.aliases:
            message = f"the name {asked!r} stands for the voice {own!r}, which is not there"
            raise ApiError(404, message, "voice_not_found", "voice")
        known = [*self.names(), *self.aliases]
        raise ApiError(404, f"there is no voice {asked[:80]!r}{suggestion(asked, known)}", "voice_not_found", "voice")

    def _prompt(self, name: str) -> Prompt | None:
        """Of a saved voice, if there is one. Raises FileNotFoundError if it was removed meanwhile."""
        file = f"{name}{SUFFIX}"
        if file not in self.folder.names():
            return None
        if (version := self.folder.versions([file]).get(file)) is None:
            raise FileNotFoundError(file)
        if (known := self.remembered(version)) is not None:
            return known
        with self.folder.reading(file) as path:
            return self.remember(version, Prompt.load(path))

    def remembered(self, key: object) -> Prompt | None:
        """A prompt that was used not long ago."""
        with self._lock:
            if key in self._prompts:
                self._prompts.move_to_end(key)
            return self._prompts.get(key)

    def remember(self, key: object, prompt: Prompt) -> Prompt:
        """Keep a prompt while it is among those that were used last."""
        with self._lock:
            self._prompts[key] = prompt
            while len(self._prompts) > CACHED_PROMPTS:
                self._prompts.popitem(last=False)
        return prompt

    def check_name(self, name: str) -> str:
        """The name under which a voice can be uploaded. Raises ApiError for one that cannot be."""
        name = unicodedata.normalize("NFC", name)
        if not _NAME.fullmatch(name) or len(name.encode()) > LONGEST_NAME:
            raise invalid(
                f"{name[:80]!r} is no name for a voice; use up to 64 letters, digits, dots, dashes and underscores",
                "name",
            )
        if name in builtin.voices() or name in self.aliases:
            raise invalid(f"the name {name!r} is taken by a voice of the server", "name", "voice_exists")
        saved = self._saved()
        if name not in saved and len(saved) >= self.max_voices:
            raise invalid(f"there are {len(saved)} voices, as many as are kept; delete one", code="too_many_voices")
        return name

    def add(self, name: str, prompt: Prompt, details: VoiceDetails) -> None:
        """Keep a voice; an uploaded one of the same name is replaced."""
        name = self.check_name(name)
        with self.folder.writing(f"{name}{SUFFIX}") as path:
            prompt.save(path, {ABOUT: json.dumps(to_dict(details), ensure_ascii=False)})
        self.folder.remove(f"{name}.json")

    def remove(self, name: str) -> None:
        """Forget an uploaded voice. Raises ApiError if there is none of the name."""
        name = unicodedata.normalize("NFC", name)
        if name not in self._saved():
            if name in builtin.voices():
                raise ApiError(403, f"the voice {name!r} comes with the server and stays", "voice_is_fixed", "name")
            raise ApiError(404, f"there is no uploaded voice {name[:80]!r}", "voice_not_found", "name")
        self.folder.remove(f"{name}{SUFFIX}")
        self.folder.remove(f"{name}.json")

    def _saved(self) -> list[str]:
        return [name.removesuffix(SUFFIX) for name in self.folder.names() if name.endswith(SUFFIX)]


def details_of(recording: bytes, media_type: str, consent: str, text: str, description: str | None) -> VoiceDetails:
    """The details of a voice that is uploaded now."""
    return VoiceDetails(consent, int(time.time()), len(recording), media_type, text, description)


def recording_key(recording: bytes, text: str) -> tuple[str, str]:
    """The key of the prompt of a recording and its transcript."""
    return sha256(recording).hexdigest(), text
