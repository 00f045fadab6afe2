# SPDX-License-Identifier: Apache-2.0
"""How speech is scored."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SuiteOptions:
    """How recordings are judged. What is not given is that of the suite."""

    metrics: tuple[str, ...] | None = None
    """closed_set: share of recordings for which PocketSphinx picks the right one of twenty sentences; wer: word errors,
    or character errors of Chinese; cpwer: word errors of dialogues, by speaker; similarity: of voices, by Resemblyzer;
    sim_o: by WavLM-ECAPA; cpsim: of both voices of dialogues; utmos, utmosv2, distillmos, dnsmos: predicted opinion;
    blur: detail of spectrograms; speed: characters a second."""
    recognizer: str | None = None
    """whisper (faster-whisper), whisper-transformers, whisper-d, hubert or paraformer."""
    whisper: str | None = None
    """Another Whisper for faster-whisper: a folder in CTranslate2's form or a name such as large-v3."""
    normalizer: str | None = None
    """zipvoice, zipvoice-zh, whisper, librispeech-pc, seedtts-en, seedtts-zh, dialogue-en or dialogue-zh."""
    quirks: tuple[str, ...] | None = None
    """Of the published procedures: count-spaces, turn-parity, skip-over-30s. None of them: none."""
    language: str | None = None
    """What Whisper is told to hear."""
    models: Path = Path("download/TTS_eval_models")
    """Copy of k2-fsa/TTS_eval_models: hf download k2-fsa/TTS_eval_models --local-dir download/TTS_eval_models"""
    device: str = "cpu"
    """Where PyTorch and Whisper compute, such as cuda."""
