# SPDX-License-Identifier: Apache-2.0
"""Signs, units and numerals that espeak-ng passes over or reads oddly, in words of the language.

Between words it says nothing at all for < > | in most languages, for = and # in some, for the minus of -5 in others; of
a degree Celsius it reads the letter, of a Roman numeral that it is one.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from zipvoice.text.g2p.numerals import with_numerals
from zipvoice.text.g2p.short_forms import in_full

Phonemes = Callable[[str, str], list[str]]

_NAMES: dict[str, dict[str, str]] = {
    "en": {"<": "less than", ">": "greater than", "|": "bar", "^": "caret"},
    "de": {"<": "kleiner als", ">": "größer als", "|": "Strich", "^": "hoch", "*": "mal", "/": "durch"},
    "fr": {"<": "inférieur à", ">": "supérieur à", "=": "égale", "|": "barre", "^": "puissance", "#": "dièse",
           "/": "sur", "\\": "barre inverse", "-": "moins", "n°": "numéro"},
    "es": {"<": "menor que", ">": "mayor que", "|": "barra vertical", "\\": "barra inversa", "^": "elevado a",
           "-": "menos"},
    "it": {"<": "minore di", ">": "maggiore di", "|": "barra verticale", "^": "elevato a", "-": "meno", "n°": "numero"},
    "pt": {"#": "cerquilha", "/": "barra", "\\": "barra invertida", "^": "elevado a", "|": "barra vertical",
           "~": "cerca de", "-": "menos"},
    "nl": {"<": "kleiner dan", ">": "groter dan", "|": "streep", "^": "tot de macht", "-": "min"},
    "sv": {"<": "mindre än", ">": "större än", "|": "lodstreck", "^": "upphöjt till", "-": "minus"},
    "pl": {"<": "mniejsze niż", ">": "większe niż", "-": "minus"},
    "ru": {"<": "меньше", ">": "больше", "|": "черта", "^": "в степени", "-": "минус", "/": "дробь", "*": "умножить на",
           "°C": "градусов Цельсия"},
    "tr": {"<": "küçüktür", ">": "büyüktür", "|": "dikey çizgi", "#": "kare", "/": "bölü", "\\": "ters bölü",
           "@": "et", "~": "yaklaşık", "^": "üssü", "-": "eksi"},
    "el": {"<": "μικρότερο από", ">": "μεγαλύτερο από", "-": "μείον", "°C": "βαθμοί Κελσίου"},
    "ar": {"<": "أصغر من", ">": "أكبر من", "=": "يساوي", "%": "بالمئة", "*": "ضرب", "-": "ناقص", "°C": "درجة مئوية"},
    "hi": {"<": "से कम", ">": "से अधिक", "|": ".", "/": "बटा", "-": "ऋण", "°C": "डिग्री सेल्सियस"},
    "cmn": {"<": "小于", ">": "大于", "|": "竖线", "$": "美元", "-": "负", "°C": "摄氏度"},
    "ja": {"<": "しょうなり", ">": "だいなり", "|": "たてせん", "$": "ドル", "-": "マイナス", "°C": "ど"},
}  # fmt: skip
"""What a sign is called where the voice has no word for it; the slash and the asterisk between digits."""

SIGNS = frozenset("<>=|~+$#%&@^\\")
"""Signs of ASCII that one would read aloud wherever they stand."""

_SIGN = re.compile(r"(?<![\w)])[-−](?=[.,]?\d)|(?<=\d)\s?[*/]\s?(?=\d)|[<>=|~+$#%&@^\\]")
_BRACKETS = re.compile(r"(?<!\w)<(?=\S)([^<>\n]{1,60})(?<=\S)>(?!\w)")
_ARROW = re.compile(r"(?<!\s)\s*(?:[-=]{1,2}>|<[-=]{1,2}(?=\s))\s*")
_CELSIUS = re.compile(r"(?<=\d)\s?(?:[°º]\s?C(?!\w)|℃)")
_FAHRENHEIT = re.compile(r"(?<=\d)\s?(?:[°º]\s?F(?!\w)|℉)")
_NUMBER = re.compile(r"(?<!\w)[nN][°º]\s?(?=\d)")
_RING = re.compile(r"(?<=\d)(\s?)\u02da")  # an accent that is often typed for the sign of degrees
_NUMERAL = re.compile(r"(?<![\w'’.-])(?=[IVXLC]{2})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})(?![\w'’-]|\.\w)")
_LETTER = r"[^\W\d_]"
_ACCENT = "[¨¯´¸\u02d8-\u02dd\u1fbd\u1fbf-\u1fc1\u1fcd-\u1fcf\u1fdd-\u1fdf\u1fed-\u1fef\u1ffd\u1ffe]"
_LOOSE_ACCENT = re.compile(rf"(?<!{_LETTER}){_ACCENT}|{_ACCENT}(?!{_LETTER})")
_FORMS = re.compile("[\ufe0e\ufe0f]|(?<=\\S)[\U0001f3fb-\U0001f3ff]")


def with_names(text: str, language: str, phonemes: Phonemes, is_latin: bool) -> str:
    """`text` with such signs in words; emoji without their colour, of which the voice would name half.

    Accents that do not stand between letters are left out: Chinese voices drop a number behind one.
    """
    text = in_words(text, language)
    if not text.isascii():
        text = _LOOSE_ACCENT.sub(" ", _RING.sub(r"\1°", _FORMS.sub("", text)))
        if number := _names(language).get("n°"):
            text = _NUMBER.sub(f"{number} ", text)
        if is_latin or "°C" in _names(language):
            text = _CELSIUS.sub(f" {_names(language).get('°C', '° Celsius')}", text)
        if is_latin:
            text = _FAHRENHEIT.sub(" ° Fahrenheit", text)
    text = _NUMERAL.sub(lambda match: _numeral(match[0], language, phonemes), text)
    text = _ARROW.sub(", ", _BRACKETS.sub(r" \1 ", text))
    return _SIGN.sub(lambda match: _named(match[0].strip(), match[0], language, phonemes), text)


def in_words(text: str, language: str) -> str:
    """`text` with short forms and numerals in words, where the language has such a table; else as it is."""
    return with_numerals(in_full(text, language), language)


def is_said(sign: str, language: str, phonemes: Phonemes) -> bool:
    """True if the voice has a word for a sign of ASCII, or the table has."""
    return sign in _names(language) or _has_word(sign, language, phonemes)


def _names(language: str) -> dict[str, str]:
    return _NAMES.get(language.lower().split("-")[0].split("+")[0], {})


def _named(sign: str, written: str, language: str, phonemes: Phonemes) -> str:
    name = _names(language).get(sign.replace("−", "-"))
    return written if name is None or _has_word(sign, language, phonemes) else f" {name} "


@lru_cache(maxsize=1024)
def _has_word(sign: str, language: str, phonemes: Phonemes) -> bool:
    around = ("", "5") if sign in "-−" else ("5", "5") if sign in "*/" else ("x ", " y")
    return phonemes(sign.join(around), language) != phonemes(" ".join(around).replace("  ", " "), language)


@lru_cache(maxsize=64)
def _roman_word(language: str, phonemes: Phonemes) -> tuple[str, str]:
    """How the voice begins and ends a Roman numeral beside its number: "roman", "romain", or nothing."""
    seven, twelve = ("".join(phonemes(numeral, language)).split(" ") for numeral in ("VII", "XII"))
    if min(len(seven), len(twelve)) < 2:
        return "", ""
    return seven[0] if seven[0] == twelve[0] else "", seven[-1] if seven[-1] == twelve[-1] else ""


def _numeral(written: str, language: str, phonemes: Phonemes) -> str:
    first, last = _roman_word(language, phonemes)
    said = "".join(phonemes(written, language)).split(" ") if first or last else []
    if len(said) < 2 or (said[0] != first if first else said[-1] != last):
        return written
    worth = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}[letter] for letter in written]
    return str(sum(-w if w < max(worth[i:]) else w for i, w in enumerate(worth)))
