# SPDX-License-Identifier: Apache-2.0
"""Capitals read as letters where the engine would make a word of them, and sounds that are no words.

The engine spells capitals in the middle of a clause, but at its end it takes those that look like a word for one (FAQ),
and it drops the s of a plural (GPUs). A letter name written as a word cannot be mistaken.
"""

import re

from zipvoice.text.normalizer.english.numbers import cardinal
from zipvoice.text.normalizer.english.units import UNITS
from zipvoice.text.normalizer.reading import Said


def plural(text: str, start: int) -> Said | None:
    """PCs, GPUs, NGOs: letter by letter with an s that is heard."""
    found = _PLURAL.match(text, start)
    if not found or found[1] in _SPOKEN_AS_WORDS:
        return None
    return Said(found.end(), f"{' '.join(found[1].upper())}'s", "letters")


def at_clause_end(text: str, start: int) -> Said | None:
    """FAQ. -> F A Q."""
    found = _CAPITALS.match(text, start)
    if not found or found[0] not in _MISREAD_AT_END or not _CLAUSE_END.match(text, found.end()):
        return None
    return Said(found.end(), " ".join(found[0]), "letters")


def name(text: str, start: int) -> Said | None:
    """IPv6, PhD: names that the engine makes words of; SIM, RAM: words that it spells; Esc, a key."""
    if word := _AS_WORD.match(text, start):
        return Said(word.end(), _WORDS[word[0]], "letters")
    if key := _KEY.match(text, start):
        return Said(key.end(), _KEYS[key[0]], "key")
    found = _NAME.match(text, start)
    return Said(found.end(), " ".join(found[0].upper()), "letters") if found else None


def shouted(text: str, start: int) -> Said | None:
    """GET OUT NOW! Words in capitals that the engine would spell, where they are hardly letters."""
    found = _CAPITALS.match(text, start)
    if not found:
        return None
    word = found[0].lower()
    is_word = word in _SHOUTED_WORDS or (word in _SHOUTED_TOO and _is_shouting(text, start, found.end()))
    return Said(found.end(), word, "capitals") if is_word else None


def _is_shouting(text: str, start: int, end: int) -> bool:
    """True if the sentence around has capitals alone, and at least three words."""
    before = _SENTENCE_START.split(text[max(0, start - 60) : start])[-1]
    after = _SENTENCE_START.split(text[end : end + 60])[0]
    around = before + after
    return not any(map(str.islower, around)) and len(_CAPITAL_WORD.findall(around)) > 1


def stutter(text: str, start: int) -> Said | None:
    """W-what, d-didn't: the sound of the letter, not its name."""
    found = _STUTTER.match(text, start)
    if not found or _NO_STUTTER.match(text, found.end()) or text[start - 1 : start] in ("-", "'"):
        return None
    sound = "wuh" if text[found.end() : found.end() + 2].lower() == "wh" else f"{found[1].lower()}uh"
    return Said(found.end(), " ".join([sound] * found[0].count("-")) + "-", "stutter")


def variables(text: str, start: int) -> Said | None:
    """mc²: letters of a formula, unless they are a unit; q6h: every six hours."""
    if dose := _DOSE.match(text, start):
        last = f" to {cardinal(dose[2])}" if dose[2] else ""
        return Said(dose.end(), f"every {cardinal(dose[1])}{last} hours", "dose")
    found = _SYMBOLS.match(text, start)
    if not found or found[0] in UNITS:
        return None
    return Said(found.end(), " ".join(found[0].upper()), "letters")


def for_the_engine(text: str) -> str:
    """The letter A as the engine spells it: alone, it would be the article. Plan A is, F A Q."""
    return _LETTER_A.sub("eh", text)


def interjection(text: str, start: int) -> Said | None:
    """Hm, Shh, Mm, Pfft, Brr: sounds that would be spelled."""
    found = _WORD.match(text, start)
    if not found:
        return None
    word = found[0].lower()
    if found[0].isupper() and len(word) > 1 and word not in _SHOUTED:
        return None
    if word in _INTERJECTIONS:
        return Said(found.end(), _INTERJECTIONS[word], "interjection")
    if not _STRETCHED_WORD.fullmatch(word):
        return None
    return next(Said(found.end(), words, "interjection") for p, words in _STRETCHED if p.fullmatch(word))


_PLURAL = re.compile(r"(PhD|[A-Z]{2,5})s(?!\w|'\w)")
_CAPITALS = re.compile(r"[A-Z]{2,5}(?!\w)")
_CLAUSE_END = re.compile(r"['\")\]]*\s*(?:[.,;:!?…]|\Z)")
_LETTER_A = re.compile(
    r"A(?<=\bA)(?:(?='s\b| [B-Z]\b(?!')| (?:plus|minus)\b(?! \w))|(?<=\b[A-Z] A)(?= [A-Z]\b|\s*[.,;:!?)]|\s*\Z| [a-z])"
    r"|(?:(?<=\b[Aa]n A)|(?<=\b[Pp]lan A)|(?<=\b[Vv]itamin A)|(?<=\b[Oo]ption A)|(?<=\b[Tt]ype A)"
    r"|(?<=\b[Gg]rade A)|(?<=\b[Gg]roup A)|(?<=\b[Tt]eam A)|(?<=\b[Ee]xhibit A)|(?<=\b[Hh]epatitis A)"
    r"|(?<=\bletter A))(?=\s[a-z]|[^\w\s]|\s*\Z))"
)
"""Begins with the letter, so that the search is as fast as that for one character."""
_NAME = re.compile(r"(?:IPv(?=\d)|HbA(?=1c)|(?:PhD|IoT|YMCA|IMHO|BYOB|ETA|AKA|EHR|IAQ)(?!\w))")
_WORDS = {
    "SIM": "sim", "PIN": "pin", "RAM": "ram", "ROM": "rom", "LAN": "lan", "WAN": "wan", "SaaS": "sass", "PaaS": "pass",
    "MAX": "max", "MIDI": "middy", "ASCII": "asky", "ZIP": "zip", "VAR": "V A R",
}  # fmt: skip
_AS_WORD = re.compile(rf"(?:{'|'.join(_WORDS)})(?![\w'])")
_SYMBOLS = re.compile(r"[b-df-hj-np-tv-z]{2,3}(?=(?:[²³]|\^[23])(?!\w))(?<!\d[a-z]{2})(?<!\d [a-z]{2})(?<!\d[a-z]{3})")
_DOSE = re.compile(r"[qQ](\d{1,2})(?:-(\d{1,2}))?\s?[hH](?:rs?)?(?!\w)")
_KEYS = {
    "Esc": "escape", "PgUp": "page up", "PgDn": "page down", "PrtSc": "print screen", "Del": "delete", "Ins": "insert",
}  # fmt: skip
_KEY = re.compile(r"(?:Esc|PgUp|PgDn|PrtSc)(?!\w)|(?:Del|Ins)(?=\s?\+| key)|(?<=\+)(?:Del|Ins)(?!\w)")
_SENTENCE_START = re.compile(r"[.!?:\n]")
_CAPITAL_WORD = re.compile(r"\b[A-Z]{2,}\b")
_STUTTER = re.compile(
    r"([bcdfghjklmnpqrstvwyzBCDFGHJKLMNPQRSTVWYZ]|[Ss]h|[Tt]h|[Cc]h|[Ww]h)-(?:(?i:\1)-){0,4}"
    r"(?=(?i:\1)[a-z]*[aeiouy])"
)
_NO_STUTTER = re.compile(
    r"(?:tests?|tails?|tops?|boy|boys|ball|dimer|clamps?|class|cup|section|shaped|state|day|edition|factor|function"
    r"|process|polarized|rated|value|values|Day)\b"
)
# What the engine spells of the 9 000 most frequent words in capitals, without those that are mostly letters.
_CERTAIN = """
ago ah ahh amy ate bad bag bar bat bay bed bee ben big bit bob box boy bug buy bye car cop cow cry cup cut dad
dan day die dip dog dry due dug eat end eye fan far fat fed fee few fit fix fly fog fry fun fur gap gas gay god
gun gut guy gym ha has hat hay hey hip hit hop hot hug huh ill ink inn jar jaw jay jet jim job joe joy ken
key kid kim lad law lee leg let lie log lot low mad man map men met mid mix mob mom mud nah new nov nut off oh
oil old out owe owl own pal pee pig pit pop pot ran rat raw red rid rim roy run sad sat saw say see set shy sin
sit six sky spy sub sun tax tea tim tip toe tom too top try ugh uh um war wax way wee wet win wit won woo wow
yay yep yes yet yo yup
"""
_UNCERTAIN = """
act age aid aim al am an ap app arm art as at be by cab cal co do dr ear em ex go he hi ice if in is it kit la
lab law led ma me my nan net no non of on or pa pan pet ray red sea sec set so spa st sum tag tan tap tie to up
us via we web
"""
_SHOUTED_WORDS = frozenset(_CERTAIN.split())
_SHOUTED_TOO = frozenset(_UNCERTAIN.split())
_WORD = re.compile(r"[A-Za-z]+")

_SPOKEN_AS_WORDS = frozenset((
    "PIN", "SIM", "RAM", "ROM", "LAN", "WAN", "GIF", "SEAL", "NATO", "NASA", "SWAT", "CAD", "LASER", "ASAP", "OK",
    "JPEG", "PAC", "BIOS", "MOOC",
))  # fmt: skip
_MISREAD_AT_END = frozenset((
    "AAP", "ABA", "ACL", "ACLU", "AD", "ADA", "ADC", "AED", "AEG", "AFL", "AGI", "ALS", "ALU", "ANC", "APR", "APY",
    "AR", "ASR", "ASU", "ATC", "ATF", "AUD", "BA", "CE", "CLI", "COO", "DOE", "EAP", "EBT", "ECB", "ECG", "EEG",
    "EFT", "EIB", "EIN", "EKG", "EMF", "EMI", "EMT", "EOB", "EOD", "EOM", "EOS", "EPA", "EPS", "EQ", "ER", "ESL",
    "ESP", "ETA", "ETF", "EUR", "EV", "EVA", "FAQ", "GRE", "IAEA", "ICBM", "ICU", "IDE", "IED", "IEP", "IIT", "ILO",
    "ILS", "IMF", "INR", "IOC", "IOU", "IPO", "IQ", "IRA", "IRL", "ISO", "IUD", "IV", "IVF", "KIA", "LED", "MA",
    "MOU", "NAACP", "NGO", "NIH", "NYC", "NYE", "NYU", "OAS", "OBE", "OED", "ONS", "OPD", "ORM", "OTA", "OTC", "POW",
    "PTA", "QA", "RAF", "ROI", "SAS", "SEO", "TOS", "UAE", "UAV", "UCB", "UEL", "UFC", "UHF", "URI", "USC", "USP",
    "UTI", "UX", "VIP",
))  # fmt: skip
_INTERJECTIONS = {
    "hm": "hmm", "mm": "hmm", "shh": "schh", "sh": "schh", "pfft": "phut", "pft": "phut", "brr": "burr", "grr": "gurr",
    "tsk": "tisk", "psst": "psst", "pst": "psst", "mhm": "um hmm", "mmhmm": "um hmm", "zzz": "zuzz", "aww": "aw",
    "eww": "ew", "thx": "thanks", "pls": "please", "plz": "please", "idk": "I don't know", "ahh": "ah", "ohh": "oh",
    "umm": "um", "uhh": "uh", "uhm": "um", "hrmph": "humph", "hmph": "humph", "ugh": "ugh", "pff": "fuh",
}  # fmt: skip
_SHOUTED = frozenset((
    "hm", "hmm", "hmmm", "shh", "shhh", "brr", "brrr", "grr", "grrr", "pfft", "zzz", "mmm", "aww", "eww", "ahh",
))  # fmt: skip
_STRETCHED = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"h+m{2,}|hm+", "hmm"),
        (r"m{2,}", "hmm"),
        (r"s+h{2,}", "schh"),
        (r"pf+t+", "phut"),
        (r"pf{2,}", "fuh"),
        (r"br{2,}", "burr"),
        (r"gr{2,}", "gurr"),
        (r"z{3,}", "zuzz"),
        (r"a+w{2,}", "aw"),
        (r"e+w{2,}", "ew"),
        (r"a+h{2,}|a{2,}h+", "ah"),
        (r"o+h{2,}", "oh"),
        (r"o{3,}h+", "ooh"),
        (r"u+m{2,}", "um"),
        (r"u+h{2,}", "uh"),
        (r"no{3,}", "no"),
        (r"so{3,}", "so"),
        (r"yes{2,}", "yes"),
        (r"he+y{2,}|he{3,}y", "hey"),
        (r"ye+s{2,}", "yes"),
        (r"a+r+g+h+", "argh"),
        (r"wo{2,}w+|wo+w{2,}", "wow"),
    )
)
_STRETCHED_WORD = re.compile("|".join(pattern.pattern for pattern, _ in _STRETCHED))

LOWER_WORDS = frozenset(_INTERJECTIONS)
"""Words in lower case that are interjections."""
