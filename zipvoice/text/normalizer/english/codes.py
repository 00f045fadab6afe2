# SPDX-License-Identifier: Apache-2.0
"""Numbers that are names: telephone, card and order numbers, postcodes, rooms, versions, addresses of machines."""

import re

from zipvoice.text.normalizer.english.numbers import cardinal, digit_by_digit, plural, year_like
from zipvoice.text.normalizer.reading import Said, just_before

# ---------------------------------------------------------------- telephone


def telephone(text: str, start: int) -> Said | None:
    """+1 (555) 123-4567; 1-800-FLOWERS; 555.123.4567; 555-0199; 4111 1111 1111 1111; 123-45-6789."""
    for pattern in _TELEPHONES:
        found = pattern.match(text, start)
        if found and (found[0][0] not in "(+" or sum(map(str.isdigit, found[0])) > 6):
            extension = _EXTENSION.match(text, found.end())
            words = _grouped(found[0])
            if extension:
                digits = extension[1]
                words += f", extension {name(digits) if len(digits) < 3 else digit_by_digit(digits)}"
            return Said((extension or found).end(), words, "telephone")
    return None


_END = r"(?![\w-]|[.,]\d)"
_TELEPHONES = tuple(
    re.compile(pattern + _END)
    for pattern in (
        r"\+\d{1,3}\)?(?:[ .-]?\(?\d{1,5}\)?){1,6}(?<=\d)",
        r"\(\+\d{1,3}\)(?:[ .-]?\d{1,5}){1,6}",
        r"(?:1[-. ])?\(\d{3}\)[ .-]?\d{3}[ .-]\d{4}",
        r"(?:1[-. ])?\d{3}([-. ])\d{3}\1\d{4}",
        r"1-[89]\d\d-[A-Z0-9]{3,8}(?:-[A-Z0-9]{3,8}){0,2}",
        r"\d{3}-\d{4}",
        r"\(0\d{1,4}\)(?:[ -]?\d{3,4}){1,3}",
        r"0\d{2,4}(?:[ -]\d{3,4}){1,3}",
        r"0\d{3,4} \d{5,6}",
        r"\(0\)\d{2,4}(?: \d{3,4}){1,3}",
        r"\d{4}(?:[ -]\d{4}){2,4}",
        r"\d{1,6}(?:-\d{1,7}){2,6}",
    )
)
_EXTENSION = re.compile(r",? ?(?:x|ext\.?|extension) ?(\d{1,5})(?!\w)")
_GROUP = re.compile(r"\d+|[A-Z]+|\+")


def _grouped(written: str) -> str:
    groups = _GROUP.findall(written)
    toll_free = len(groups) > 1 and groups[0] == "1" and groups[1] in ("800", "900")
    said = []
    for i, group in enumerate(groups):
        if toll_free and i == 1:
            said.append(cardinal(group))
        else:
            said.append(digit_by_digit(group) if group.isdigit() else group.lower() if group.isalpha() else "plus")
    return ", ".join(said).replace("plus, ", "plus ")


# ---------------------------------------------------------------- codes by what stands before


def code(text: str, start: int) -> Said | None:
    """PIN 4821, order #12345678, call 911, MA 02139: digit by digit."""
    found = _DIGITS.match(text, start)
    if not found:
        return None
    digits = found[0]
    before = _word_before(text, start)
    if before in _CODES and len(digits) > 2:
        return Said(found.end(), digit_by_digit(digits), "code")
    if (before in _CALLS and (digits in _EMERGENCY or len(digits) > 4)) or (
        len(digits) in (5, 6) and just_before(_TEXTING, text, start)
    ):
        return Said(found.end(), digit_by_digit(digits), "code")
    if before == "port":
        return Said(found.end(), in_pairs(digits), "code")
    if len(digits) == 5 and just_before(_STATE, text, start):
        extra = _ZIP_EXTENSION.match(text, found.end())
        words = digit_by_digit(digits) + (f", {digit_by_digit(extra[1])}" if extra else "")
        return Said((extra or found).end(), words, "postcode")
    if len(digits) == 10 and digits[0] in "23456789" and digits[1:].strip("0"):
        return Said(found.end(), _grouped(f"{digits[:3]} {digits[3:6]} {digits[6:]}"), "telephone")
    if digits in ("911", "999", "112") and just_before(_OR_EMERGENCY, text, start):
        return Said(found.end(), digit_by_digit(digits), "code")
    return None


_DIGITS = re.compile(r"\d{5}(?=-\d{4}(?![\d-]))|\d+(?![\d/:%]|[.,]\d|-\d)")
_WORDS_BEFORE = re.compile(r"([A-Za-z]*)[.:]?\s?\b([A-Za-z]+)\.?[:#\s]{1,3}\Z")
_LINKS = frozenset(("is", "was", "number", "no", "code"))


def _word_before(text: str, start: int) -> str:
    """The word before a number in small letters; before *number*, *is* and the like, the one before that."""
    found = just_before(_WORDS_BEFORE, text, start)
    if not found:
        return ""
    last = found[2].lower()
    return found[1].lower() if last in _LINKS and found[1].lower() in _CODES else last


_CODES = frozenset((
    "pin", "code", "passcode", "password", "otp", "zip", "postcode", "card", "serial", "ssn", "account", "tracking",
    "id", "extension", "ext", "isbn", "phone", "tel", "fax", "mobile", "cell", "invoice", "booking", "confirmation",
    "reference", "ref", "vin", "iban", "badge",
))  # fmt: skip
_CALLS = frozenset(["call", "dial", "text", "ring", "phone", "dialed", "called", "order"])
_TEXTING = re.compile(
    r"(?i)\b(?:te?xt(?:ing|s|ed)?|sms|send(?:ing|s)?|messag(?:e[sd]?|ing)) [\"'“]?\w{1,12}[\"'”]? to \Z"
)
_EMERGENCY = ("911", "999", "112", "101", "111", "311", "411", "988", "211")
_OR_EMERGENCY = re.compile(r"(?:911|999|112),? or \Z")
_STATE = re.compile(
    r"\b(?:AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH"
    r"|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY) \Z"
)
_STATE_AHEAD = re.compile(r"(IN|ME|OH|OR)(?= \d{5}(?!\d))")
_ZIP_EXTENSION = re.compile(r"-(\d{4})(?!\d)")


def state(text: str, start: int) -> Said | None:
    """OH 43215, IN 46402: the letters of a state before its postcode, where they look like a word."""
    found = _STATE_AHEAD.match(text, start)
    return Said(found.end(), " ".join(found[1]), "postcode") if found else None


def room(text: str, start: int) -> Said | None:
    """Room 101, highway 101, a 404 error: three digits as one oh one; and 747-400s, 787-9."""
    if jets := _JETS.match(text, start):
        words = " ".join(map(in_pairs, filter(None, jets.groups())))
        return Said(jets.end(), plural(words) if jets[0].endswith("s") else words, "model")
    if house := _HOUSE.match(text, start):
        return Said(house.end(), in_pairs(house[0]), "house number")
    found = _THREE.match(text, start)
    if not found:
        return None
    before = _word_before(text, start)
    is_room = before in _ROOMS or just_before(_FLIGHT, text, start)
    is_error = (
        _ERROR.match(text, found.end())
        or _STATUS.search(text, max(0, start - 4), start + 4)
        or before in ("error", "status", "http")
    )
    if is_room and found[2]:
        return Said(found.end(), f"{in_pairs(found[1])} {in_pairs(found[2])}", "model")
    if found[2] or not (is_room or is_error):
        return None
    return Said(found.end(), in_pairs(found[1]), "room")


_JETS = re.compile(r"(7[0-8]7)(?:-([1-9]00|[789]|10)\b(?!-|[.,/]\d|\s?[=%])|(?:-([1-9]00|[789]|10))?'?s\b)")
_THREE = re.compile(r"(\d{3})(?:-(\d{3}))?(?![\d/:%-]|[.,]\d|[a-zA-Z](?!\b)|[a-z])")
_FLIGHT = re.compile(r"(?i:flight) [A-Z]{2} ?\Z")
_STATUS = re.compile(r"\ban? (?:40[0134]|50[0234])(?=[.,;!?]|\Z)")
_HOUSE = re.compile(
    r"\d{3,4}(?=[A-Z]? (?:(?:[NS]\.?)?[NSEW]\.? )?(?:[A-Z][a-z]+ ){1,3}"
    r"(?:St|Ave|Rd|Blvd|Ln|Dr|Ct|Ter|Pl|Way|Street|Avenue|Road|Drive|Lane|Terrace|Court|Place)\b)"
)
_ERROR = re.compile(r"\s(?:errors?|status|response|page)\b|\(k\)")
_ROOMS = frozenset((
    "room", "suite", "apartment", "apt", "flight", "bus", "boeing", "airbus", "hwy", "interstate", "us", "psalm",
    "rm", "ste", "exit", "gate", "unit", "studio", "office", "ward",
))  # fmt: skip


def in_pairs(digits: str) -> str:
    """4508 -> forty-five oh eight; 747 -> seven forty-seven; 1600 -> sixteen hundred."""
    if len(digits) not in (3, 4) or digits[0] == "0":
        return name(digits)
    first, rest = digits[:-2], digits[-2:]
    if rest == "00":
        return cardinal(digits) if first[1:] == "0" else f"{cardinal(first)} hundred"
    return f"{cardinal(first)} {'oh ' if rest[0] == '0' else ''}{cardinal(rest)}"


# ---------------------------------------------------------------- numbers with letters


def serial(text: str, start: int) -> Said | None:
    """1Z999AA10123456784, 0x1F, FF0000: letter by letter."""
    found = _SERIAL.match(text, start) or _HEX.match(text, start)
    if not found or (found.re is _SERIAL and sum(c.isdigit() for c in found[0]) < 4):
        return None
    return Said(found.end(), " ".join(digit_by_digit(c) if c.isdigit() else c for c in found[0]), "serial")


_SERIAL = re.compile(r"(?=[A-Z]*\d[A-Z\d]*[A-Z][A-Z\d]*\d|\d+[A-Z]+\d|\d+[A-Z]{2})[A-Z\d]{7,40}(?!\w)")
_HEX = re.compile(r"0x[0-9A-Fa-f]{1,16}(?!\w)")


def identifier(text: str, start: int) -> Said | None:
    """00:1B:44:11:3A:B7, 550e8400-e29b-..., fe80::1, a1b2c3d: addresses of machines and hashes, sign by sign."""
    found = _IDENTIFIER.match(text, start)
    if not found or found[0].isdigit() or not any(map(str.isdigit, found[0])):
        return None
    words = (_IN_IDENTIFIERS.get(c) or (digit_by_digit(c) if c.isdigit() else c.upper()) for c in found[0])
    return Said(found.end(), " ".join(" ".join(words).split()).replace(" ,", ","), "identifier")


_IN_IDENTIFIERS = {":": ",", "-": ","}
_IDENTIFIER = re.compile(
    r"(?:[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|(?=[0-9a-fA-F:]{0,34}::|(?:[0-9a-fA-F]{1,4}:){7})(?:[0-9a-fA-F]{1,4}::?){1,7}[0-9a-fA-F]{1,4}"
    r"|(?=[0-9]{0,39}[a-f])(?=[a-f]{0,39}[0-9])(?=(?:[a-f]{0,9}[0-9]){3})(?=(?:[0-9]{0,9}[a-f]){2})[0-9a-f]{7,40})(?![\w:-])"
)


def offset(text: str, start: int) -> Said | None:
    """UTC-8, GMT+5:30: hours before or after."""
    found = _OFFSET.match(text, start)
    if not found:
        return None
    minutes = f" {cardinal(found[4])}" if found[4] and int(found[4]) else ""
    sign = "plus" if found[2] == "+" else "minus"
    return Said(found.end(), f"{' '.join(found[1])} {sign} {cardinal(found[3])}{minutes}", "zone")


_OFFSET = re.compile(r"(UTC|GMT)\s?([+−–-])(\d{1,2})(?::?(\d\d))?(?![\w:])")


def dotted_letter(text: str, start: int) -> Said | None:
    """H.264, X.509: a letter and its number."""
    found = _DOTTED_LETTER.match(text, start)
    return Said(found.end(), f"{found[1]} dot {in_pairs(found[2])}", "name") if found else None


_DOTTED_LETTER = re.compile(r"\b([A-Z])\.(\d{1,4})(?![\w]|\.\d)")


def hyphenated(text: str, start: int) -> Said | None:
    """COVID-19, F-16, F-16s, x86-64: the hyphen between letters and digits is no minus and no range."""
    if not just_before(_LETTER_BEFORE, text, start) or _DIFFERENCE.match(text, start):
        return None
    if (models := _MODELS.match(text, start)) and text[start - 1].isupper():
        return Said(models.end(), plural(" ".join(map(name, models[1].split("-")))), "name")
    found = _MODEL.match(text, start)
    if not found:
        return None
    return Said(found.end(), " ".join(name(digits) for digits in found[0].lstrip("-").split("-")), "name")


_MODELS = re.compile(r"-?(\d{1,4}(?:-\d{1,4})?)'?s\b")
_LETTER_BEFORE = re.compile(r"[A-Za-z]\Z")
_DIFFERENCE = re.compile(r"-(?<=[({][a-z]-)(?=\d{1,2}[)}])")  # (n-1)!
_MODEL = re.compile(
    r"-\d{1,12}(?:-\d{1,12})?(?![\w.,:/%]|-\d)|-\d{1,12}(?=(?!'?s\b|(?:st|nd|rd|th)\b)[A-Za-z]|[.,:](?!\d))|\d{1,12}-\d{1,12}(?![\w:/%-])"
)


def section(text: str, start: int) -> Said | None:
    """§ 240.10b-5, Rule 10b-5: the parts of a section's number."""
    found = _SECTION.match(text, start)
    if not found or not just_before(_LAW, text, start):
        return None
    parts = _PARTS.findall(found[0])
    words = (in_pairs(p) if p.isdigit() else "point" if p == "." else p for p in parts)
    return Said(found.end(), " ".join(words), "section")


_SECTION = re.compile(r"\d{1,5}(?:\.\d{1,4}[a-z]?(?:-\d{1,3})?|[a-z]-\d{1,3})(?:[a-z](?!\w))?(?![\w-]|\.\d)")
_LAW = re.compile(r"(?:§|\b(?:[Rr]ules?|[Ss]ections?|Sec\.|Reg\.|C\.?F\.?R\.?))\s?\Z")
_PARTS = re.compile(r"\d+|[a-z]|\.")


def ion(text: str, start: int) -> Said | None:
    """Fe3+, Ca²⁺, NH4+, SO4^2-: the formula and its charge."""
    found = _ION.match(text, start)
    if not found:
        return None
    formula, charge = found[1] or found[3], found[2] or found[4] or ""
    words = _FIGURES.sub(lambda m: f" {digit_by_digit(m[0])} ", formula + charge.translate(_RAISED))
    return Said(found.end(), f"{' '.join(words.split())} {'plus' if found[1] else 'minus'}", "ion")


_CATIONS = "Li Na K Rb Cs Mg Ca Sr Ba Al Fe Cu Zn Mn Ni Co Cr Ag Hg Pb Sn Cd Ti H NH4 H3O"
_ANIONS = "Cl Br OH NO3 NO2 SO4 SO3 HSO4 CO3 HCO3 PO4 HPO4 H2PO4 CN SCN MnO4 ClO4 ClO3 ClO Cr2O7 CrO4 CH3COO C2O4 O2"
_ION = re.compile(
    rf"({'|'.join(_CATIONS.split())})\^?([1-9²³])?[+⁺](?![\w+])"
    rf"|({'|'.join(_ANIONS.split())}|[OS](?=\^?[2²])|[FI](?=[⁻-] ion))\^?([1-4²³])?[-−⁻](?![\w-])"
)
_FIGURES = re.compile(r"\d")
_RAISED = str.maketrans("²³", "23")


def name(digits: str) -> str:
    """A number that is a name: with a leading zero, or long, digit by digit; else as a year."""
    return digit_by_digit(digits) if len(digits) > 4 or (len(digits) > 1 and digits[0] == "0") else year_like(digits)


# ---------------------------------------------------------------- versions


def version(text: str, start: int) -> Said | None:
    """2.0.1 -> two point zero point one; 192.168.0.1 with dots, as an address."""
    found = _VERSION.match(text, start)
    if not found:
        return None
    parts = found[0].split(".")
    is_address = len(parts) == 4 and all(len(part) < 4 and int(part) < 256 for part in parts)
    if is_address:
        return Said(found.end(), " dot ".join(in_pairs(part) for part in parts), "address")
    return Said(found.end(), " point ".join(map(name, parts)), "version")


_VERSION = re.compile(r"\d+(?:\.\d+){2,}")
