# SPDX-License-Identifier: Apache-2.0
"""Pinyin syllables as tokens: the initial with a 0, the final with its tone, `chang2` -> `ch0 ang2`."""

import unicodedata

# Two-letter initials first, so that the longest one is found. As in pypinyin's non-strict style, y and w are initials.
INITIALS = ("zh", "ch", "sh", *"bpmfdtnlgkhjqxrzcsyw")

# The finals of the released vocabulary with their tones. g and ng5 come from the interjections ng and hng.
_FINALS = """
a12345 ai12345 an12345 ang12345 ao12345 e12345 ei12345 en12345 eng12345 er2345 g2345 i12345 ia12345 ian12345 iang12345
iao12345 ie12345 in12345 ing12345 iong1234 iu12345 m1245 n2345 ng5 o12345 ong12345 ou12345 u12345 ua1234 uai12345
uan12345 uang12345 ue1234 ui12345 un12345 uo12345 v234 ve34 ê1234
"""

PINYIN_TOKENS = tuple(
    sorted(
        [initial + "0" for initial in INITIALS]
        + [
            final.rstrip("12345") + tone
            for final in _FINALS.split()
            for tone in final.lstrip("abcdefghijklmnopqrstuvwxyzê")
        ]
    )
)
"""The 201 pinyin tokens of the released models, by code point."""


def syllable_tokens(syllable: str) -> list[str]:
    """Tokens of a syllable in tone-number style; without a tone number it has the neutral tone 5.

    ü is written v, and a syllable that is only an initial (m2, n2, r5) repeats it as its final, as pypinyin has it.
    """
    syllable = syllable.replace("ü", "v")
    toneless, tone = (syllable[:-1], syllable[-1]) if syllable[-1:] in tuple("12345") else (syllable, "5")
    initial = next((i for i in INITIALS if toneless.startswith(i)), "")
    final = toneless[len(initial) :] or initial
    return [initial + "0", final + tone] if initial else [final + tone]


def normal_syllable(word: str) -> str:
    """Lower case, composed letters, ü and u: as v: `Lü4` -> `lv4`."""
    return unicodedata.normalize("NFC", word).lower().replace("u:", "v").replace("ü", "v")


def is_syllable(syllable: str) -> bool:
    """True if the released vocabulary has the tokens of `syllable`, which must end in its tone number."""
    return syllable[-1:] in tuple("12345") and all(token in _KNOWN for token in syllable_tokens(syllable))


_KNOWN = frozenset(PINYIN_TOKENS)
