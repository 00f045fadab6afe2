# SPDX-License-Identifier: Apache-2.0
"""Routes for voices: list, hear, upload, delete."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from zipvoice.server.answers import Stream, encoded
from zipvoice.server.containers import Format, media_type
from zipvoice.server.errors import ApiError, invalid
from zipvoice.server.recordings import media_type as recorded_type
from zipvoice.server.schemas import Speech
from zipvoice.server.speech_routes import Speaking, caller
from zipvoice.server.voice_store import VoiceDetails, details_of

NO_CONSENT = ("0", "false", "n", "no", "none", "null", "off", "refused", "undefined")
"""What forms send where there is none."""
PREVIEW = "The quick brown fox jumps over the lazy dog."
FIELDS = ("audio_sample", "consent", "name", "ref_text", "speaker_description")

router = APIRouter(prefix="/v1/audio/voices", tags=["voices"])

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": list(FIELDS[:4]),
                    "properties": {
                        name: {"type": "string", **({"format": "binary"} if name == "audio_sample" else {})}
                        for name in FIELDS
                    },
                }
            }
        },
    }
}


@router.get("")
async def voices(
    speaker: Speaking, legacy: Annotated[bool, Query(description="Names alone.")] = False
) -> dict[str, Any]:
    """All voices, and what is known of the uploaded ones."""
    names = list(dict.fromkeys([*await speaker.storage.read(speaker.voices.names), *speaker.voices.aliases]))
    if legacy:
        return {"voices": names}
    uploaded = await speaker.storage.read(speaker.voices.uploaded)
    return {
        "voices": [{"id": name, "name": name, "uploaded": name in uploaded} for name in names],
        "uploaded_voices": [_shown(name, details) for name, details in uploaded.items()],
    }


@router.post("", openapi_extra=_FORM)
async def upload(request: Request, speaker: Speaking) -> dict[str, Any]:
    """Keep a voice: a recording of 3 to 10 seconds, what it says, and the consent of who speaks."""
    async with request.form(max_files=1, max_fields=len(FIELDS)) as form:
        recording = await _recording(form, speaker.options.max_upload_bytes)
        name, consent, text = (_text(form, field) for field in ("name", "consent", "ref_text"))
        if consent.casefold().rstrip(".!") in NO_CONSENT:
            raise invalid("without the consent of the speaker no voice is kept", "consent", "no_consent")
        description = _text(form, "speaker_description") if "speaker_description" in form else None
        speaker.check_length(consent, "consent")
        speaker.check_length(description or "", "speaker_description")
        for field in form:
            if field not in FIELDS:
                raise invalid(f"unknown field {field[:80]!r}; known: {', '.join(FIELDS)}", field[:80], "unknown_field")
            if len(form.getlist(field)) > 1:
                raise invalid(f"{field} is there twice; send it once", field, "given_twice")
    name = await speaker.storage.read(speaker.voices.check_name, name)
    prompt = await speaker.prompt(recording, text)
    details = details_of(recording, recorded_type(recording), consent, text, description)
    await speaker.storage.write(speaker.voices.add, name, prompt, details)
    return {"success": True, "voice": _shown(name, details)}


@router.delete("/{name}")
async def delete(name: str, speaker: Speaking) -> dict[str, Any]:
    """Forget an uploaded voice."""
    await speaker.storage.write(speaker.voices.remove, name)
    return {"success": True, "message": f"the voice {name!r} is deleted"}


@router.get("/{name}/preview", response_class=Response, responses={200: {"content": {"audio/mpeg": {}}}})
async def preview(name: str, request: Request, speaker: Speaking, response_format: Format = "mp3") -> Response:
    """A sentence in the voice."""
    job = await speaker.speak(Speech(input=PREVIEW, voice=name, response_format=response_format), caller(request))
    sound, kind = encoded(job, response_format), media_type(response_format)
    return Stream(sound, job.cancel, kind, speaker.headers, speaker.options.send_seconds)


def _shown(name: str, details: VoiceDetails | None) -> dict[str, Any]:
    known = {} if details is None else {key: value for key, value in asdict(details).items() if value is not None}
    return {"id": name, "name": name, **known}


async def _recording(form: FormData, max_bytes: int) -> bytes:
    sample = form.get("audio_sample")
    if not isinstance(sample, UploadFile):
        raise invalid("audio_sample must be a file: the recording of the voice", "audio_sample", "missing")
    data = await sample.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ApiError(413, f"the recording is larger than {max_bytes} bytes", "too_large", "audio_sample")
    return data


def _text(form: FormData, field: str) -> str:
    value = form.get(field)
    if not isinstance(value, str) or not value.strip():
        reason = {"consent": "say that the speaker agrees", "ref_text": "say what the recording says, word for word"}
        raise invalid(f"{field} is missing: {reason.get(field, 'give a text')}", field, "missing")
    return value.strip()
