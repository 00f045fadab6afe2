# SPDX-License-Identifier: Apache-2.0
"""Roman numerals after kings, chapters, wars and parts; elsewhere capitals are letters or words.

The engine would say "roman eight" for many of them, so one that stays unexplained is spelled: an IV drip.
"""

import re

from zipvoice.text.normalizer.english.numbers import cardinal, ordinal
from zipvoice.text.normalizer.reading import Said, just_before


def numeral(text: str, start: int) -> Said | None:
    """Henry VIII, Chapter IV, World War II, the XIX century."""
    if numbered := _ORDINAL.match(text, start):
        return Said(numbered.end(), ordinal(str(_value(numbered[1]))), "roman numeral")
    found = _NUMERAL.match(text, start)
    if not found or not found[1]:
        return None
    capitals = found[1].upper()
    value = str(_value(capitals))
    words = _in_context(text, start, found, value)
    if words is None:
        if found[1].isupper() and _SAID_ROMAN.fullmatch(capitals):
            return Said(start + len(found[1]), " ".join(capitals), "letters")
        return None
    end = start + len(found[1])
    if (last := _RANGE.match(text, end)) and last[1].isupper() == found[1].isupper():
        return Said(last.end(), f"{words} to {cardinal(str(_value(last[1].upper())))}", "roman numeral")
    return Said(end + text.startswith(".'s", end), words, "roman numeral")


def _in_context(text: str, start: int, found: re.Match[str], value: str) -> str | None:
    """The numeral as it is read here, or None if nothing says that it is one."""
    written, end = found[1], found.end()
    before = just_before(_BEFORE, text, start)
    words = before[1].split() if before else []
    previous = words[-1] if words else ""
    if previous.lower().rstrip(".") in _COUNTED and not (
        written in "iI" and _PRONOUN.match(text, end) and previous != "War"
    ):
        of = previous.lower().rstrip(".")
        numbered = of in ("scene", "act", "chapter") or (of in ("page", "pages", "p", "pp") and written in "ivx")
        return cardinal(value) if numbered or len(written) > 1 or written.isupper() else None
    if written.islower():
        return None
    if _CENTURY.match(text, end):
        return ordinal(value)
    if (
        len(written) > 1
        and written not in _WORDS
        and _HEADING.match(text, end)
        and just_before(_LINE_START, text, start)
    ):
        return cardinal(value)
    is_ruler = previous[:1].isupper() and len(words) > 1 and words[-2] in _TITLES
    if is_ruler and written in "IVX" and not (_THINKING.match(text, end) or _SURNAME.match(text, end)):
        return f"the {ordinal(value)}"
    if not previous[:1].isupper() or (len(written) == 1 and not _may_be_single(text, end, written, previous)):
        return None
    if previous.lower() in _NAMES:
        return f"the {ordinal(value)}"
    if len(written) == 1 or written in _WORDS:
        return None
    is_person = len(words) > 1 and words[-2].lower() in _NAMES
    return f"the {ordinal(value)}" if is_person and int(value) < 9 else cardinal(value)


def _may_be_single(text: str, end: int, written: str, previous: str) -> bool:
    """Elizabeth I, George V, Leo X are numbered; Malcolm X is a name, and I am is a word."""
    if previous.lower() not in _NAMES or previous == "Malcolm" or written not in "IVX":
        return False
    return not (written == "I" and _PRONOUN.match(text, end)) and not _SURNAME.match(text, end)


def _value(capitals: str) -> int:
    total = 0
    for c, following in zip(capitals, [*capitals[1:], ""], strict=True):
        worth = _WORTH[c]
        total += -worth if following and _WORTH[following] > worth else worth
    return total


_WORTH = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_FORM = r"(?=[IVXLCDM])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_NUMERAL = re.compile(rf"({_FORM}|{_FORM.lower()})(?!\w|\.\w)")
_ORDINAL = re.compile(rf"(?=[IVXLC]{{2}})({_FORM})(?:st|nd|rd|th|d|e)\b")
_RANGE = re.compile(rf"\.?\s?[-–—]\s?(?=[IVXLCivxlc])({_FORM}|{_FORM.lower()})(?!\w)")
_SAID_ROMAN = re.compile(r"X{0,3}(?:IX|IV|VI{0,3}|I{2,3})|XL?(?:IX|IV|V?I{0,3})|XX")
_BEFORE = re.compile(r"((?:[A-Za-z.'-]+ )?[A-Za-z.]+)[ ]\Z")
_LINE_START = re.compile(r"(?:\A|\n|  )\Z")
_HEADING = re.compile(r"\.(?:\s|\Z)|\s*\Z")
_CENTURY = re.compile(r"\s(?:century|centuries|Century|Olympi(?:c|ad)|Congress|Corps|Dynasty|dynasty|Summit)")
_PRONOUN = re.compile(
    r"\s(?:am|was not|think|thought|have|had|will|would|shall|should|can|could|do|did|know|knew|guess|want|said|saw|see"
    r"|love|like|need|never|really|went|got|feel|felt|mean|may|might|must|just|\w{2,6}n't|\w{3,8}ed)\b|'(?:m|ve|d|ll)\b"
)
_THINKING = re.compile(r"\s(?:am|have|do|think|thought|know|knew|want|saw|see|love|like|need|feel|felt|mean|guess)\b|'")
_TITLES = frozenset(
    [
        "King",
        "Queen",
        "Emperor",
        "Empress",
        "Pope",
        "Tsar",
        "Czar",
        "Tsarina",
        "Kaiser",
        "Sultan",
        "Shah",
        "Pharaoh",
        "Prince",
        "Duke",
        "Patriarch",
    ]
)
_SURNAME = re.compile(r"\. (?!(?:The|He|She|It|In|At|They|His|Her|We|But|And|This|That)\b)[A-Z][a-z]")
_WORDS = frozenset((
    "I", "V", "X", "L", "C", "D", "M", "MIX", "MI", "MD", "MC", "MM", "DC", "CD", "DI", "CV", "CC", "DM", "DX", "MV",
    "XL", "XXX", "IV", "VI", "CI", "CL", "CM", "LCD", "MID", "DIM",
))  # fmt: skip
_COUNTED = frozenset((
    "chapter", "chap", "ch", "chaps", "chapters", "vols", "volumes", "parts", "books", "acts", "figs",
    "part", "pt", "vol", "volume", "book", "bk", "act", "scene", "section", "sec", "article",
    "art", "war", "bowl", "phase", "type", "class", "level", "title", "appendix", "figure", "fig", "table", "apollo",
    "rocky", "fantasy", "mark", "stage", "grade", "unit", "canto", "psalm", "sonnet", "symphony", "opus", "op", "no",
    "plate", "schedule", "annex", "league", "division", "tier", "category", "cat", "group", "region", "zone", "corps",
    "sector", "episode", "season", "wrestlemania", "ultima", "quest", "souls", "empires", "civilization", "simcity",
    "schubert", "lesson", "exercise", "module", "step", "rank", "row", "column", "item", "clause", "amendment",
    "cranial", "trisomy", "mode", "model", "saturn", "gemini", "soyuz", "page", "pages", "p", "pp",
))  # fmt: skip
_NAMES = frozenset((
    "henry", "edward", "george", "william", "richard", "charles", "james", "john", "paul", "louis", "elizabeth",
    "mary", "victoria", "catherine", "peter", "alexander", "nicholas", "ivan", "frederick", "friedrich", "wilhelm",
    "francis", "philip", "ferdinand", "napoleon", "pius", "gregory", "benedict", "leo", "innocent", "clement",
    "urban", "boniface", "julius", "sixtus", "ramesses", "ramses", "thutmose", "ptolemy", "cleopatra", "xerxes",
    "darius", "cyrus", "artaxerxes", "christian", "haakon", "harald", "olaf", "olav", "gustav", "carl", "karl",
    "umberto", "emmanuel", "albert", "leopold", "baudouin", "otto", "malcolm", "robert", "david", "kenneth",
    "stephen", "harold", "pedro", "alfonso", "isabella", "juan", "carlos", "felipe", "sancho", "constantine",
    "justinian", "theodosius", "basil", "michael", "suleiman", "mehmed", "murad", "selim", "rama", "sigismund",
    "casimir", "matthias", "rudolf", "maximilian", "joseph", "franz", "adrian", "celestine", "eugene", "hadrian",
    "amenhotep", "anne", "margaret", "margrethe", "beatrix", "thomas", "walter", "mithridates", "antiochus",
    "seleucus", "philippe", "henri", "charlemagne", "conrad", "lothair", "alexios", "manuel", "andronikos", "nero",
    "tiberius", "claudius", "abdullah", "hussein", "mohammed", "hassan", "faisal", "fuad", "farouk", "ahmed",
    "mahmud", "osman", "bayezid", "naser", "shah", "pepin", "clovis", "dagobert", "childeric", "boris", "simeon",
    "stefan", "carol", "mihai", "zog", "nikola", "thurston", "martin", "luther", "hans", "jan", "theodore", "donald",
    "joe", "joseph", "samuel", "daniel", "andrew", "patrick", "arthur", "alfred", "edgar", "edmund", "edwin", "hugh",
    "ralph", "roger", "anthony", "frank", "harry", "jack", "tom", "sam", "sammy", "ben", "ken", "ted", "bill", "bob",
    "jim", "jimmy", "johnny", "cale", "dale", "hank", "loudon", "davis", "mattias", "juliana", "wilhelmina",
    "amadeus", "shenouda", "tutankhamun", "tewodros", "menelik", "kamehameha", "pomare", "sobhuza", "moshoeshoe",
    "mswati", "letsie",
))  # fmt: skip
