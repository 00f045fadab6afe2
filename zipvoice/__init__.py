# SPDX-License-Identifier: Apache-2.0
"""Zero-shot text-to-speech by flow matching.

>>> zipvoice.load().synthesize("Hello").save("out.wav")  # the small model and the voice that come with the package
>>> zipvoice.voices()  # names that may follow the text
['heart', 'kathleen', 'libri26', 'lj']
>>> synthesizer = zipvoice.load("zipvoice")  # a released model
>>> voice = synthesizer.prompt("me.wav", "What me.wav says.")
>>> synthesizer.synthesize("Hello from my own voice.", voice).save("out.wav")
>>> zipvoice.sherpa("exported")  # texts and voices for sherpa-onnx
"""

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime would note its use in the home folder

if TYPE_CHECKING:
    from zipvoice.audio.files import Audio as Audio
    from zipvoice.config.synthesis import SynthesisOptions as SynthesisOptions
    from zipvoice.synthesis.prompt import Prompt as Prompt
    from zipvoice.synthesis.sherpa import sherpa as sherpa
    from zipvoice.synthesis.synthesizer import Synthesizer as Synthesizer
    from zipvoice.synthesis.synthesizer import load as load
    from zipvoice.synthesis.voices import voices as voices

__version__ = "0.1.0"

_HOMES = {
    "Audio": "zipvoice.audio.files",
    "Prompt": "zipvoice.synthesis.prompt",
    "SynthesisOptions": "zipvoice.config.synthesis",
    "Synthesizer": "zipvoice.synthesis.synthesizer",
    "load": "zipvoice.synthesis.synthesizer",
    "sherpa": "zipvoice.synthesis.sherpa",
    "voices": "zipvoice.synthesis.voices",
}

__all__ = ["Audio", "Prompt", "SynthesisOptions", "Synthesizer", "__version__", "load", "sherpa", "voices"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `import zipvoice` and `zipvoice --help` load nothing heavy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'zipvoice' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
