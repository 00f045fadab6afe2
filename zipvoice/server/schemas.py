# SPDX-License-Identifier: Apache-2.0
"""What clients send, as pydantic checks it and the OpenAPI page shows it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from zipvoice.config.strict_json import suggestion
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.server.containers import Format

WITHOUT_EFFECT = frozenset(
    {
        "allow_voice_tags",
        "download_format",
        "instructions",
        "max_new_tokens",
        "normalization_options",
        "return_download_link",
        "task_type",
        "user",
    }
)
"""Fields of other servers that change nothing here. The answer names those that were sent, in X-Ignored-Fields."""


class Body(BaseModel):
    """An object whose unknown keys are errors, but for those of other servers that have no effect here.

    A field that is null is as one that is left out.
    """

    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _no_unknown_keys(self) -> "Body":
        for key in self.ignored:
            if key not in WITHOUT_EFFECT:
                raise _unknown(key, type(self).model_fields)
        return self

    @property
    def ignored(self) -> list[str]:
        """Fields that were sent and have no effect."""
        return sorted(self.model_extra or ())


def _unknown(key: str, fields: Mapping[str, FieldInfo]) -> PydanticCustomError:
    """The error of a key that no field has, or that is another name of one that was given too."""
    for name, field in fields.items():
        choices = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else ()
        if key in choices:
            message = f"{' and '.join(map(str, choices))} are names of one field; give one of them"
            return PydanticCustomError("given_twice", message, {"param": name})
    message = f"unknown field {key[:80]!r}{suggestion(key, fields)}"
    return PydanticCustomError("unknown_field", message, {"param": key[:80]})


def _name_of(voice: Any) -> Any:
    return voice["id"] if isinstance(voice, dict) and set(voice) == {"id"} else voice


_VOICE_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}]
}
VoiceName = Annotated[str, BeforeValidator(_name_of), WithJsonSchema(_VOICE_SCHEMA)]
"""The name of a voice, or an object with it, as OpenAI's custom voices are named."""


class Manner(Body):
    """How something is spoken and sent."""

    model: str | None = Field(
        default=None, description="The model served here, or a name of OpenAI's: tts-1, gpt-4o-mini-tts."
    )
    response_format: Format = Field(
        default="mp3", description="pcm is 16 bits, little endian, at the rate of the model."
    )
    stream_format: Literal["audio", "sse"] = Field(default="audio", description="sse sends base64 in events.")
    stream: bool | None = Field(
        default=None,
        description="false sends the sound as a whole, with its length; otherwise it is sent while it is made.",
    )
    speed: float = Field(default=1.0, ge=0.25, le=4)
    language: str | None = Field(
        default=None,
        validation_alias=AliasChoices("language", "lang_code"),
        description="Checked against the languages of the model.",
    )
    seed: int | None = Field(
        default=None, ge=0, lt=2**63, description="The same seed, text and voice give the same sound."
    )
    num_steps: int | None = Field(default=None, ge=1, le=64, validation_alias=AliasChoices("num_steps", "num_step"))
    guidance_scale: float | None = Field(
        default=None, ge=0, le=10, validation_alias=AliasChoices("guidance_scale", "guidance")
    )
    t_shift: float | None = Field(default=None, gt=0, le=1)
    temperature: float | None = Field(default=None, ge=0, le=1)
    timeout_seconds: float | None = Field(
        default=None, gt=0, validation_alias=AliasChoices("timeout_seconds", "request_timeout_s")
    )

    def options(self) -> SynthesisOptions:
        """As the synthesizer takes them."""
        names = ("speed", "seed", "num_steps", "guidance_scale", "t_shift", "temperature")
        return SynthesisOptions(**{name: value for name in names if (value := getattr(self, name)) is not None})


Duration = Annotated[
    float | None,
    Field(
        gt=0,
        le=600,
        validation_alias=AliasChoices("duration", "duration_seconds"),
        description="Length of the speech in seconds, to the sample, instead of speed.",
    ),
]


class Voiced(Manner):
    """How something is spoken, and the voice that speaks it."""

    voice: VoiceName | None = Field(
        default=None, validation_alias=AliasChoices("voice", "speaker"), description="A name, or an object with its id."
    )
    ref_audio: str | None = Field(
        default=None, description="A recording to speak like, instead of a voice: data:audio/wav;base64,…"
    )
    ref_text: str | None = Field(default=None, description="What the recording says, word for word.")

    @model_validator(mode="after")
    def _one_voice(self) -> "Voiced":
        if self.ref_audio is not None and self.voice is not None:
            raise ValueError("give a voice or ref_audio, not both")
        if (self.ref_audio is None) != (self.ref_text is None):
            raise ValueError("ref_audio and ref_text go together: a recording and what it says")
        return self


class Speech(Voiced):
    """A text and the voice that speaks it."""

    input: str = Field(min_length=1, description="What to say; docs/text.md tells of the markup.")
    duration: Duration = None
    word_timestamps: bool = Field(
        default=False, description="Tell when each word is spoken; with stream false, or stream_format sse."
    )

    @model_validator(mode="after")
    def _one_length(self) -> "Speech":
        if self.duration is not None and self.speed != 1:
            raise ValueError("duration replaces speed; leave one of them out")
        if self.word_timestamps and self.stream is not False and self.stream_format != "sse":
            raise ValueError("word_timestamps are sent with stream false, or with stream_format sse")
        return self

    def options(self) -> SynthesisOptions:
        return replace(super().options(), duration=self.duration, word_times=self.word_timestamps)


class LiveSettings(Voiced):
    """How texts that come in word by word are spoken: `session.config`."""

    response_format: Format = "wav"
    stream_audio: bool = Field(default=True, description="false sends the sound of an utterance in one message.")


class Turn(Body):
    """What one speaker says."""

    voice: VoiceName | None = None
    text: str = Field(min_length=1, validation_alias=AliasChoices("text", "input"))


class Dialogue(Manner):
    """Turns of several voices, spoken one after the other."""

    turns: list[Turn] = Field(min_length=1, max_length=200)
    pause_between_turns: float | None = Field(
        default=None, ge=0, le=10, description="Seconds, 0.3 by default; a dialogue model sets the pauses itself."
    )


class Batch(BaseModel):
    """Several texts in one request; what stands beside the items holds for all that do not say otherwise."""

    model_config = ConfigDict(strict=True, extra="allow")
    items: list[dict[str, Any]] = Field(min_length=1, max_length=32, description="Objects as for /v1/audio/speech.")

    def merged(self) -> list[dict[str, Any]]:
        """What each item asks for: what it says itself, under whatever name of a field, and else what stands beside."""
        return [self._merged({key: value for key, value in item.items() if value is not None}) for item in self.items]

    def _merged(self, item: dict[str, Any]) -> dict[str, Any]:
        said = {name for key in item for name in _names(key)}
        return {**{key: value for key, value in (self.model_extra or {}).items() if key not in said}, **item}


def _names(key: str) -> list[str]:
    """The names of the field that has this one among them."""
    aliases = (field.validation_alias for field in Speech.model_fields.values())
    choices = [list(map(str, alias.choices)) for alias in aliases if isinstance(alias, AliasChoices)]
    return next((names for names in choices if key in names), [key])
