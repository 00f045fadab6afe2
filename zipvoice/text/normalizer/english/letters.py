# SPDX-License-Identifier: Apache-2.0
"""Capitals read as letters where the engine would make a word of them, and sounds that are no words.

The engine spells capitals in the middle of a clause, but at its end it takes those that look like a word for one (FAQ),
and it drops the s of a plural (GPUs). A letter name written as a word cannot be mistaken.
"""

import re

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
    """IPv6, PhD: names in small and large letters that the engine makes words of."""
    found = _NAME.match(text, start)
    return Said(found.end(), " ".join(found[0].upper()), "letters") if found else None


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
    return next((Said(found.end(), words, "interjection") for p, words in _STRETCHED if p.fullmatch(word)), None)


_PLURAL = re.compile(r"(PhD|[A-Z]{2,5})s(?![\w'])")
_CAPITALS = re.compile(r"[A-Z]{2,5}(?!\w)")
_CLAUSE_END = re.compile(r"['\")\]]*\s*(?:[.,;:!?…]|\Z)")
_LETTER_A = re.compile(
    r"A(?<=\bA)(?:(?='s\b| [B-Z]\b(?!'))|(?<=\b[A-Z] A)(?= [A-Z]\b|\s*[.,;:!?)]|\s*\Z| [a-z])"
    r"|(?:(?<=\b[Aa]n A)|(?<=\b[Pp]lan A)|(?<=\b[Vv]itamin A)|(?<=\b[Oo]ption A)|(?<=\b[Tt]ype A)"
    r"|(?<=\b[Gg]rade A)|(?<=\b[Gg]roup A)|(?<=\b[Tt]eam A)|(?<=\b[Ee]xhibit A)|(?<=\b[Hh]epatitis A)"
    r"|(?<=\bletter A))(?=\s[a-z]|[^\w\s]|\s*\Z))"
)
"""Begins with the letter, so that the search is as fast as that for one character."""
_NAME = re.compile(r"IPv(?=\d)|PhD(?!\w)")
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
        (r"he+y{2,}", "hey"),
        (r"ye+s{2,}", "yes"),
        (r"a+r+g+h+", "argh"),
        (r"wo{2,}w+|wo+w{2,}", "wow"),
    )
)

LOWER_WORDS = frozenset(_INTERJECTIONS)
"""Words in lower case that are interjections."""
