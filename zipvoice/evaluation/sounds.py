# SPDX-License-Identifier: Apache-2.0
"""The sounds of a word, in the classes that the aligner tells apart, for every tokenizer and language.

The aligner learned the sounds of American English. Those of other languages are written with the nearest one.
"""

import unicodedata
from collections.abc import Collection, Iterator

from zipvoice.text.g2p import espeak
from zipvoice.text.words import SpokenWord

NEAREST = {
    **dict.fromkeys("rʁʀɻɽ", "ɹ"), **dict.fromkeys("xχħ", "h"), **dict.fromkeys("ʔʈ", "t"), **dict.fromkeys("qc", "k"),
    **dict.fromkeys("ɕʂç", "ʃ"), **dict.fromkeys("ʐʑ", "ʒ"), **dict.fromkeys("ɲɳ", "n"), **dict.fromkeys("ʎɫɭ", "l"),
    **dict.fromkeys("βʋ", "v"), "ɣ": "ɡ", "g": "ɡ", "ɖ": "d", "ɸ": "f", "ɟ": "d", "ʝ": "j", "ɥ": "j", "ɰ": "w",
    **dict.fromkeys("yʏ", "i"), **dict.fromkeys("øɘɵɤ", "ə"), **dict.fromkeys("œ", "ɛ"), **dict.fromkeys("ɨ", "ᵻ"),
    **dict.fromkeys("ɯʉ", "u"), **dict.fromkeys("ɒɞ", "ɔ"), **dict.fromkeys("ɶ", "æ"), "ã": "a",
}  # fmt: skip
"""Class of each letter of the phonetic alphabet that has none of its own."""
INITIALS = {
    "zh": "dʒ", "ch": "tʃ", "sh": "ʃ", "j": "dʒ", "q": "tʃ", "x": "ʃ", "z": "dz", "c": "ts", "r": "ʒ", "g": "k",
    "b": "p", "d": "t", "y": "j",
}  # fmt: skip
"""Those of Mandarin that are not written with their sound."""
FINALS = {
    "i": "i", "u": "u", "v": "i", "a": "a", "o": "ɔ", "e": "ə", "ai": "aɪ", "ei": "eɪ", "ao": "aʊ", "ou": "oʊ",
    "an": "an", "en": "ən", "ang": "ɑŋ", "eng": "əŋ", "ong": "oŋ", "er": "ɑɹ", "in": "in", "ing": "iŋ", "ie": "jɛ",
    "ve": "jɛ", "ue": "jɛ", "ia": "ja", "iao": "jaʊ", "iu": "joʊ", "iou": "joʊ", "ian": "jɛn", "iang": "jɑŋ",
    "iong": "joŋ", "ua": "wa", "uo": "wɔ", "uai": "waɪ", "ui": "weɪ", "uei": "weɪ", "uan": "wan", "un": "wən",
    "uen": "wən", "uang": "wɑŋ", "van": "jɛn", "vn": "in",
}  # fmt: skip


def sounds(word: SpokenWord, classes: Collection[str]) -> list[str]:
    """The classes of a word's sounds, in order; none for a word that nothing is known of."""
    tokens = word.tokens
    if "".join(tokens).casefold() == word.text.casefold():  # letters, not phonemes
        tokens = tuple(espeak.speak(word.text.lower() if word.text.isupper() else word.text, "en-us"))
    return [kind for token in tokens for kind in _kinds(token) if kind in classes]


def _kinds(token: str) -> Iterator[str]:
    if len(token) > 1 and token[-1].isdigit():
        yield from _pinyin(token[:-1], token[-1] == "0")
        return
    for letter in unicodedata.normalize("NFD", token):
        yield NEAREST.get(letter, letter)


def _pinyin(part: str, is_initial: bool) -> str:
    """The sounds of the initial or the final of a syllable."""
    return INITIALS.get(part, part) if is_initial else FINALS.get(part, part)
