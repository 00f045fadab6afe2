# SPDX-License-Identifier: Apache-2.0
"""Text to phonemes with espeak-ng: piper-phonemize, or piper-tts on a Python for which that has no wheels."""

import importlib.util
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

from zipvoice.config.strict_json import suggestion
from zipvoice.text.characters import script
from zipvoice.text.g2p import signs
from zipvoice.text.g2p.clauses import sentences, with_known_marks

Engine = Callable[[str, str], list[list[str]]]
"""(text, language) -> code points of each sentence; raises RuntimeError for an unknown language."""

# espeak-ng is one set of global variables, and it keeps an unfinished clause from one call to the next: after a text
# that ends in two full stops the next one starts with "dot". A call with a space empties it, which a text that ends in
# a word with at most one mark does not need; the lock keeps the two calls together.
_lock = threading.Lock()
_FINISHED = re.compile(r"[^\W_][.!?]?\Z")


def phonemes(text: str, language: str) -> list[str]:
    """The phonemes of `text`, one code point each; sentences are joined without a mark of their own.

    The result depends on nothing but the arguments. Raises ValueError for an unknown language (with near names) and
    ImportError with the install command when no engine is installed.
    """
    return list(_cached_phonemes(text, language)) if len(text) <= 40 else _uncached_phonemes(text, language)


def speak(text: str, language: str) -> list[str]:
    """As `phonemes`, without what espeak-ng loses in very long words and clauses, and in letters it has no name for.

    Letters of scripts foreign to the language must be left out before (`is_speakable`): some combinations of them crash
    espeak-ng.
    """
    text = signs.with_names(text, language, phonemes, scripts(language) == ("LATIN",))
    known = "".join(c if c.isascii() else _sayable(c, language) for c in with_known_marks(text, language))
    known = _WORDLESS.sub(_without_mark, _FLAG_OF_TWO.sub(r" \g<0> ", known))
    known = _LONG_NUMBER.sub(_spelled, _with_scripts_apart(known, language))
    safe = _with_short_words(_with_loose_dots(known), language)
    calls = [call for sentence in sentences(safe) for call in _calls(sentence, language)]
    spoken = [_without_false_marks(phonemes(call, language), language) for call in calls]
    return [symbol for i, symbols in enumerate(spoken) for symbol in (*" "[: i and bool(symbols)], *symbols)]


def is_speakable(character: str, language: str) -> bool:
    """True if espeak-ng has a sound for a letter or digit in this language.

    For letters of scripts foreign to the language it has only names ("Chinese letter") or code points; those count as
    unspeakable.
    """
    if character.isascii():
        return character not in signs.SIGNS or signs.is_said(character, language, phonemes)
    if character in _FLAG_LETTERS:
        return bool(phonemes(_FLAG, language))
    plain = _usual_form(character, language)
    if plain != character:
        return all(is_speakable(c, language) for c in plain)
    if character.isalpha() and not _reads_script(script(character), language):
        return False
    if is_symbol(character):
        return bool(phonemes(character, language))
    return not _is_spelled_by_code(character, language) or _base_letter(character) != character


def is_english(language: str) -> bool:
    """True for the English voices, en-us, en-gb and so on."""
    return language.lower().startswith("en")


def is_symbol(character: str) -> bool:
    """True for signs that one would read aloud, such as ℃, € and <, as against punctuation and loose accents."""
    if character.isascii():
        return character in signs.SIGNS
    return unicodedata.category(character) in ("Sm", "Sc", "So") and character not in _SKIN_TONES


def scripts(language: str) -> tuple[str, ...]:
    """The scripts that an espeak-ng language is written in, as in `characters.script`; Latin is read in all of them."""
    return ("LATIN", *_SCRIPTS.get(language.lower().split("-")[0].split("+")[0], ()))


@lru_cache(maxsize=1024)
def _reads_script(name: str, language: str) -> bool:
    """True for the scripts of the language, and for others of which it reads a word as their own language does."""
    if name in scripts(language):
        return True
    word, own = _SAMPLES.get(name, ("", ""))
    return bool(word) and phonemes(word, language) == phonemes(word, own)


def languages() -> list[str]:
    """The languages that the installed espeak-ng data knows."""
    return sorted(file.name.lower() for file in _language_files())


def _language_files() -> list[Path]:
    return [file for file in (_data_folder() / "lang").rglob("*") if file.is_file()]


_FALSE_MARKS = {"de": (re.compile(r"\?\?(?=\S)"), "ʊɐ"), "da": (re.compile(r"(?<=[ˈˌ])\?"), "ʔ")}
"""Phonemes without a sign of their own, which the engine writes as marks: of German *kurz*, of Danish *tredive*."""


def _without_false_marks(symbols: list[str], language: str) -> list[str]:
    mark, sign = _FALSE_MARKS.get(language.lower().split("-")[0], (None, ""))
    return list(mark.sub(sign, "".join(symbols))) if mark else symbols


_FLAG = "🇩🇪"
_FLAG_LETTERS = frozenset(map(chr, range(0x1F1E6, 0x1F200)))
_FLAG_OF_TWO = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_INSTALL = (
    "phonemes need espeak-ng, which is under GPL-3.0: pip install piper-phonemize (piper-tts on Python 3.12 and newer)"
)
_LINKING = "\u02b2"  # in other languages the same sign is a real palatal
_LINKING_LANGUAGES = ("en", "fr")

_CYRILLIC, _ARABIC, _DEVANAGARI = ("CYRILLIC",), ("ARABIC",), ("DEVANAGARI",)
_SCRIPTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("ba", "be", "bg", "cv", "kk", "ky", "mk", "nog", "ru", "sr", "tt", "uk"), _CYRILLIC),
    **dict.fromkeys(("ar", "fa", "sd", "ug", "ur"), _ARABIC),
    **dict.fromkeys(("hi", "kok", "mr", "ne"), _DEVANAGARI),
    **dict.fromkeys(("as", "bn", "bpy"), ("BENGALI",)),
    **dict.fromkeys(("cmn", "hak", "yue"), ("CJK", "BOPOMOFO", "IDEOGRAPHIC")),
    **dict.fromkeys(("el", "grc"), ("GREEK",)),
    **dict.fromkeys(("hy", "hyw"), ("ARMENIAN",)),
    "am": ("ETHIOPIC",),
    "chr": ("CHEROKEE",),
    "gu": ("GUJARATI",),
    "he": ("HEBREW",),
    "ja": ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"),
    "ka": ("GEORGIAN",),
    "kn": ("KANNADA",),
    "ko": ("HANGUL",),
    "ml": ("MALAYALAM",),
    "my": ("MYANMAR",),
    "or": ("ORIYA",),
    "pa": ("GURMUKHI",),
    "shn": ("MYANMAR",),
    "si": ("SINHALA",),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "th": ("THAI",),
}

# A word of each script that some voices read by the rules of its own language, and that language.
_SAMPLES = {
    "GREEK": ("Ελλάδα", "el"),
    "HANGUL": ("한국어", "ko"),
    "DEVANAGARI": ("नमस्ते", "hi"),
    "GEORGIAN": ("გამარჯობა", "ka"),
    "TAMIL": ("வணக்கம்", "ta"),
    "BENGALI": ("আমার", "bn"),
    "MALAYALAM": ("മലയാളം", "ml"),
    "GUJARATI": ("ગુજરાતી", "gu"),
    "GURMUKHI": ("ਪੰਜਾਬੀ", "pa"),
    "KANNADA": ("ಕನ್ನಡ", "kn"),
    "TELUGU": ("తెలుగు", "te"),
    "SINHALA": ("සිංහල", "si"),
    "CYRILLIC": ("Привет", "ru"),
    "ARABIC": ("مرحبا", "ar"),
    "HEBREW": ("שלום", "he"),
    "ARMENIAN": ("Բարև", "hy"),
}


def _uncached_phonemes(text: str, language: str) -> list[str]:
    engine = _engine()
    text = text.replace("\0", " ")  # the end of a C string
    with _lock:
        try:
            sentences = engine(text, language)
        except RuntimeError:
            raise ValueError(_unknown_language(language)) from None
        if not _FINISHED.search(text):
            engine(" ", language)
    return [symbol for sentence in sentences for symbol in sentence]


@lru_cache(maxsize=16384)
def _cached_phonemes(text: str, language: str) -> tuple[str, ...]:
    """Words and short sentences: a call costs 0.3 ms however short the text, most of it to load the voice."""
    return tuple(_uncached_phonemes(text, language))


@lru_cache(maxsize=1)
def _engine() -> Engine:
    if importlib.util.find_spec("piper_phonemize"):
        from piper_phonemize import phonemize_espeak

        return partial(phonemize_espeak, data_path=_data_folder())  # which it would look for at each call
    if importlib.util.find_spec("piper"):
        return _piper_tts()
    raise ImportError(_INSTALL)


def _piper_tts() -> Engine:
    """piper-tts; its newer espeak-ng marks linked words in English and French with U+02B2, unlike the one before."""
    from piper.phonemize_espeak import EspeakPhonemizer

    phonemizer = EspeakPhonemizer()

    def engine(text: str, language: str) -> list[list[str]]:
        sentences = phonemizer.phonemize(language, text)
        if language.lower().startswith(_LINKING_LANGUAGES):
            return [[symbol for symbol in sentence if symbol != _LINKING] for sentence in sentences]
        return sentences

    return engine


def _data_folder() -> Path:
    for package in ("piper_phonemize", "piper"):
        spec = importlib.util.find_spec(package)
        if spec and spec.origin:
            return Path(spec.origin).parent / "espeak-ng-data"
    raise ImportError(_INSTALL)


def _unknown_language(language: str) -> str:
    wanted = language.strip().lower().replace("_", "-").split("-")[0]
    near = [file.name.lower() for file in _language_files() if wanted in _other_names(file)]
    hint = f"; near: {', '.join(sorted(near))}" if wanted and near else suggestion(language, languages())
    return f"espeak-ng does not know the language {language!r}{hint}"


def _other_names(file: Path) -> set[str]:
    """Of a language: the words of its English name, and what its codes begin with."""
    named = re.findall(r"^(?:name|language)\s+([^(\n]+)", file.read_text(encoding="utf-8", errors="replace"), re.M)
    return {word.lower() for name in named for word in re.split(r"\W", name)} | {file.name.lower().split("-")[0]}


@lru_cache(maxsize=65536)
def _is_spelled_by_code(character: str, language: str) -> bool:
    """True for characters of which espeak-ng only says "letter 1 d 4 1", or nothing at all."""
    if not character.isalnum():
        return False
    spoken = phonemes(character, language)
    return not spoken or spoken[:4] == _letter_word(language)


@lru_cache(maxsize=256)
def _letter_word(language: str) -> list[str]:
    """How the voice begins to spell a character that no dictionary has, here CYRILLIC SMALL LETTER IOTIFIED YAT."""
    return phonemes("\ua65d", language)[:4]


def _sayable(character: str, language: str) -> str:
    """A letter that the voice knows; ², ½ and emoji as words, since beside another symbol their names are lost."""
    plain = _usual_form(character, language)
    if plain != character:
        return plain
    if unicodedata.category(character) == "No" or _is_picture(character):
        return f" {character} "
    return _base_letter(character) if _is_spelled_by_code(character, language) else character


# After a clause without a word or number espeak-ng says "exclamation" or "colon", and has no mark.
_WORDLESS = re.compile(r"(?:\A|(?<=[.!?;:,]\s))([^\w.!?;:,]+)[!:](?=\s|\Z)")


def _without_mark(match: re.Match[str]) -> str:
    return f"{match[1]}." if any(map(_is_picture, match[1])) else match[0]


def _is_picture(character: str) -> bool:
    """True for arrows, emoji and other signs from U+2190 on, most of which have names of several words."""
    return character >= "\u2190" and is_symbol(character) and character not in _FLAG_LETTERS


@lru_cache(maxsize=65536)
def _usual_form(character: str, language: str) -> str:
    """４ as 4, ﬃ as ffi, ④ and Ⅻ as numbers, ℃ as °C, where the voice has no word for the form itself."""
    if character.isascii() or unicodedata.normalize("NFKC", character) == character:
        return character
    category = unicodedata.category(character)
    if category in ("Nl", "No") and unicodedata.numeric(character).is_integer() and character not in "¹²³":
        return f" {int(unicodedata.numeric(character))} "
    if category == "Nd":
        return str(unicodedata.decimal(character))
    plain = unicodedata.normalize("NFKC", character)
    if (
        category[0] == "L"
        and character not in "ªº"
        and script(character) in ("LATIN", "FULLWIDTH", "MATHEMATICAL", "HALFWIDTH")
    ):
        return plain
    if category[0] == "S" and (not phonemes(character, language) or "\u3200" <= character <= "\u33ff"):
        return plain
    return character


_LONG_NUMBER = re.compile(r"\d{19,}")


def _spelled(match: re.Match[str]) -> str:
    """A number too long to have a name, digit by digit."""
    return " ".join(match[0])


def _base_letter(character: str) -> str:
    """A Latin letter without its accents; the same character if it has none or belongs to another script."""
    base = unicodedata.normalize("NFD", character)[0]
    return base if base.isascii() else character


# espeak-ng joins letters and full stops without spaces to one abbreviation, in a buffer that it overruns.
_DENSE_DOTS = re.compile(r"(?:[^.。]{0,10}[.。]){12,}")
_TIGHT_DOT = re.compile(r"(?<!\d)[.。](?=\S)|[.。](?=[^\s\d])")


def _with_loose_dots(text: str) -> str:
    """A space after each full stop where there are a dozen with hardly a word between."""
    return _DENSE_DOTS.sub(lambda match: _TIGHT_DOT.sub(". ", match[0]), text)


_BEFORE_OTHER_SCRIPT = re.compile(r"(?<=[A-Za-z])([^\W\d_\u0000-\u03ff])")


def _with_scripts_apart(text: str, language: str) -> str:
    """A space before a letter that another voice has to read: of B가 espeak-ng would drop both. Not in kΩ."""
    own = scripts(language)
    return _BEFORE_OTHER_SCRIPT.sub(lambda found: found[0] if script(found[0]) in own else f" {found[0]}", text)


def _with_short_words(text: str, language: str) -> str:
    """Spaces in words of which espeak-ng would drop the end."""
    return " ".join(" ".join(_short_words(word, language)) if len(word) > 18 else word for word in text.split(" "))


def _short_words(word: str, language: str) -> Iterator[str]:
    """Pieces that fit in espeak-ng's buffer of some 200 phonemes a word, which truncates without a word."""
    for start in range(0, len(word), 64):
        piece = word[start : start + 64]
        spoken = "".join(phonemes(piece, language)).split(" ")
        if len(piece) > 18 and max(map(len, spoken)) > 100:
            half = len(piece) // 2
            yield from _short_words(piece[:half], language)
            yield from _short_words(piece[half:], language)
        else:
            yield piece


# espeak-ng keeps 1000 phonemes of a clause, which is some 800 characters of words, but 200 of digits.
_CLAUSE = re.compile(r"(?s).+?(?:[.,;:!?…](?=\s)|\Z)")
_BLOCK = re.compile(r"(?s).{1,599}(?:\s|\Z)|.{1,600}")


def _calls(text: str, language: str) -> list[str]:
    """`text`, cut only where a clause would be too long."""
    calls: list[list[str]] = [[]]
    for clause in _CLAUSE.findall(text):
        first, *rest = [call for block in _BLOCK.findall(clause) for call in _short_clauses(block, language)]
        calls[-1].append(first)
        calls.extend([call] for call in rest)
    return ["".join(call) for call in calls]


def _short_clauses(clause: str, language: str) -> Iterator[str]:
    if len(clause) <= 100 or len(phonemes(clause, language)) < 1000:
        yield clause
        return
    middle = clause.find(" ", len(clause) // 2, -1) + 1 or clause.rfind(" ", 1, -1) + 1 or len(clause) // 2
    yield from _short_clauses(clause[:middle], language)
    yield from _short_clauses(clause[middle:], language)
