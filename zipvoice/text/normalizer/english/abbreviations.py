# SPDX-License-Identifier: Apache-2.0
"""Abbreviations, titles, initials and dotted capitals.

A full stop belongs to the abbreviation, unless a capital letter or the end follows: then it ends the sentence too.
Where a name follows (Dr. King, Mt. Everest, James T. Kirk) it never does.
"""

import re

from zipvoice.text.normalizer.reading import Said, just_before


def abbreviation(text: str, start: int) -> Said | None:
    """The word at `start` in full, if it is an abbreviation here."""
    found = _WORD.match(text, start)
    if not found or text[start - 1 : start] in _JOINING:
        return None
    written, end = found[0], found.end()
    if written == "v" and (versus := _PARTIES.match(text, start)) and just_before(_PARTY, text, start):
        return Said(versus.end(), "versus", "abbreviation")
    if text[end : end + 1] in _JOINING and text[end : end + 2] not in ("--",):
        return None
    dotted = text.startswith(".", end)
    lower = written.lower()
    is_title = written.istitle() or written.islower() or (written.isupper() and (dotted or written != "MS"))
    if lower in _TITLES and is_title:  # MS Word, a degree, Mississippi
        return _title(text, start, end, lower, dotted)
    after = end + dotted
    is_street = written in _STREETS and _is_street(text, start, end, written, dotted)
    if written == "Gen" and (generation := _GENERATION.match(text, after)):
        return Said(generation.start(1), "gen ", "abbreviation")
    if written in _BEFORE_NAMES and _NAME_AHEAD.match(text, after) and not (is_street and _is_no_name(text, after)):
        return Said(after, _BEFORE_NAMES[written], "title")
    if is_street:
        return _street(text, end, written, dotted)
    if lower in _BEFORE_LETTERS and dotted and _LETTER_AHEAD.match(text, after):
        return Said(after, _BEFORE_NUMBERS[lower], "abbreviation")
    if lower in ("no", "nos") and dotted and _CODE_AHEAD.match(text, after):
        return Said(after, _BEFORE_NUMBERS[lower], "abbreviation")
    if written in ("EST", "PT") and just_before(_CLOCK, text, start):
        return None  # 5 p.m. EST. 8 of them came
    if written == "P" and start:
        return None  # Fed. R. Civ. P. 56
    if lower == "no" and _PRONOUN_AHEAD.match(text, after):
        return None
    if lower == "v" and dotted and _VERSION_AHEAD.match(text, after):
        return Said(after, _BEFORE_NUMBERS["ver"], "abbreviation")
    if lower == "est" and dotted and ((founded := _FOUNDED.match(text, after)) or not written.isupper()):
        return Said(end + 1, "established" if founded else "estimated", "abbreviation")
    if text[start - 1 : start] == "." and len(written) == 1:
        return None  # b.i.d. x 10 days
    if lower in _BEFORE_NUMBERS and _NUMBER_AHEAD.match(text, after) and (dotted or lower in _NO_DOT_NEEDED):
        return Said(after, _BEFORE_NUMBERS[lower], "abbreviation")
    if written.isupper() and len(written) > 1 and lower not in _IN_CAPITALS:
        return None
    if (found := _FLOOR.match(text, start)) and just_before(_ORDINAL_BEFORE, text, start):
        words = "floor" if written[0] in "fF" else "edition"
        return Said(_end(text, found.end() - 1, True), words, "abbreviation")
    if lower in _ANYWHERE and _is_one_word(written) and (dotted or lower in _WITHOUT_DOT):
        stop = end + dotted if lower in _NEVER_LAST and _MORE_AHEAD.match(text, after) else _end(text, end, dotted)
        return Said(stop, _ANYWHERE[lower], "abbreviation")
    if written in _COMPANIES and (dotted or written == "Inc") and just_before(_AFTER_NAME, text, start):
        return Said(_end(text, end, dotted), _COMPANIES[written], "company")
    return None


def _is_one_word(written: str) -> bool:
    """False for a plural of capitals: HRs."""
    return written.islower() or written.istitle() or written.isupper() or written in ("YoY", "QoQ")


def direction(text: str, start: int) -> Said | None:
    """350 W. 57th St.: the side of the town before the name of a street."""
    found = _DIRECTION.match(text, start)
    if not found or not just_before(_NUMBER_BEFORE, text, start):
        return None
    return Said(found.end(), _QUARTERS[found[1].replace(".", "")], "street")


def _title(text: str, start: int, end: int, lower: str, dotted: bool) -> Said | None:
    """Doctor before a name, drive behind one."""
    is_owned = text[start - 3 : start] == "'s "
    if (
        lower == "dr"
        and not is_owned
        and not _NAME_AHEAD.match(text, end + dotted)
        and just_before(_CAPITALISED_BEFORE, text, start)
    ):
        return Said(_end(text, end, dotted), "drive", "street")
    return Said(end + dotted, _TITLES[lower], "title")


def _is_street(text: str, start: int, end: int, written: str, dotted: bool) -> bool:
    if not just_before(_CAPITALISED_BEFORE, text, start):
        return False
    return dotted or written in ("St", "Blvd", "Pkwy", "Hwy") or bool(_STREET_END.match(text, end + dotted))


def _is_no_name(text: str, after: int) -> bool:
    """True for a quarter of the town, and for a word that begins a sentence: Main St. NW, Main St. He left."""
    following = _NEXT_WORD.match(text, after)
    return bool(_QUARTER.match(text, after) or (following and following[1] in _STARTERS))


def _street(text: str, end: int, written: str, dotted: bool) -> Said:
    """Street, avenue, with the quarter of the town behind it: Pennsylvania Ave. NW."""
    if not (found := _QUARTER.match(text, end + dotted)):
        return Said(_end(text, end, dotted), _STREETS[written], "street")
    stop = _end(text, found.end(), text.startswith(".", found.end()))
    return Said(stop, f"{_STREETS[written]} {_QUARTERS[found[1]]}", "street")


def _end(text: str, end: int, dotted: bool) -> int:
    """Where an abbreviation ends: behind its full stop, unless that may end the sentence too."""
    return end + (dotted and not _SENTENCE_END.match(text, end + 1))


def initials(text: str, start: int) -> Said | None:
    """James T. Kirk, J. R. R. Tolkien, J.K. Rowling, E. coli, Ph.D., the U.S. Army."""
    if found := _DEGREE.match(text, start):
        words = " ".join(found[0].replace(".", ""))
        return Said(_end(text, found.end() - 1, True), _DEGREES.get(found[0], words), "letters")
    if found := _LATIN.match(text, start):
        return Said(found.end(), _LATINS[found[0][0].lower()], "abbreviation")
    if found := _DOTTED.match(text, start):
        return _dotted(text, found)
    found = _INITIAL.match(text, start)
    if not found or found[0] == "I." or just_before(_LETTER_OF, text, start):
        return None
    following = _NEXT_WORD.match(text, found.end())
    if not following or following[1] in _STARTERS:
        return None
    return Said(found.end(), found[0][0], "initial")


def _dotted(text: str, found: re.Match[str]) -> Said | None:
    """U.S. keeps its last full stop at the end of a sentence; J.K. Rowling has none."""
    if found[0].endswith("s"):
        return Said(found.end(), f"{' '.join(found[0][:-1].replace('.', ''))}'s", "letters")
    letters = found[0].replace(".", "")
    words = " ".join(letters)
    following = _NEXT_WORD.match(text, found.end())
    is_end = not text[found.end() :].strip() or (following is not None and following[1] in _STARTERS)
    return Said(found.end() - is_end, words, "letters")


_WORD = re.compile(r"[A-Za-z]+")
_JOINING = ("-", "'", "@", "_", "/", "\\", "&", "–")
_PARTY = re.compile(r"[A-Z][\w.,&'’]*\s\Z")
_PARTIES = re.compile(r"v\.?(?=\s[A-Z])")
_NAME_AHEAD = re.compile(r"\s+[A-Z]")
_GENERATION = re.compile(r"\s+([XYZ](?![\w.])|Alpha\b)")
_LETTER_AHEAD = re.compile(r"\s(?![AI]\s[a-z])[A-Z](?!['\w]|\.\w|\.\s[A-Z][a-z])")
_CODE_AHEAD = re.compile(r"\s[A-Z]{1,4}-?\d")
_CLOCK = re.compile(r"(?:[aApP]\.?[mM]\.?|:\d\d)\s\Z")
_MORE_AHEAD = re.compile(r"\s*\S")
_PRONOUN_AHEAD = re.compile(r"\s+I(?:'|\s+[a-z])")
_FLOOR = re.compile(r"(?:[Ff]lr?|edn?)\.")
_ORDINAL_BEFORE = re.compile(r"\d(?:st|nd|rd|th|d) \Z")
_NUMBER_BEFORE = re.compile(r"\d[A-Z]? \Z")
_DIRECTION = re.compile(
    r"([NS]\.?[EW]\.?|[NSEW]\.?)"
    r"(?=\s\d{1,3}(?:st|nd|rd|th)\b|(?:\s[A-Z][a-z]+){1,3} (?:St|Ave|Blvd|Rd|Dr|Ln|Street|Avenue|Road)\b)"
)
_FOUNDED = re.compile(r"\s?(?:in\s|c(?:a|irca)?\.?\s)?(?:1\d|20)\d\d\b")
_VERSION_AHEAD = re.compile(r"\s?\d{1,3}\.\d")
_NUMBER_AHEAD = re.compile(r"\s?[\d#$£€]|\s(?:AD|A\.D\.)\s\d|\s[IVXLC]+\b|\s[ivxl]+\b")
_SENTENCE_END = re.compile(r"\s*\Z|[\"')\]]*\s+[\"'(\[]?(?!(?:Ltd|Inc|Corp|LLC|Jr|Esq)\b)[A-Z]|[\"')\]]*\Z")
_CAPITALISED_BEFORE = re.compile(r"(?:[A-Z][a-z'.]+|\d(?:st|nd|rd|th))\s\Z")
_STREET_END = re.compile(r"\s*(?:[,;)]|\Z|(?:NW|NE|SW|SE|N|S|E|W)\b)")
_QUARTERS = {
    "N": "north", "S": "south", "E": "east", "W": "west", "NW": "northwest", "NE": "northeast", "SW": "southwest",
    "SE": "southeast",
}  # fmt: skip
_QUARTER = re.compile(r"\s(NW|NE|SW|SE|N|S|E|W)(?=\s*(?:[.,;:)!?]|\Z)|\s+[a-z\d])")
_AFTER_NAME = re.compile(r"[\w)&],? \Z")
_INITIAL = re.compile(r"[A-Z]\.(?=\s[A-Za-z])")
_NEXT_WORD = re.compile(r"\s{0,2}([A-Za-z][\w']*)")
_LATINS = {"e": "for example", "i": "that is"}
_LATIN = re.compile(r"(?:e\.g\.|i\.e\.)(?!\w)")
_DOTTED = re.compile(r"(?:[A-Z]\.){2,6}(?:s\b|(?!\w))")
_LETTER_OF = re.compile(
    r"\b(?:[Pp]lan|[Vv]itamin|[Oo]ption|[Tt]ype|[Gg]rade|[Gg]roup|[Tt]eam|[Cc]lass|[Bb]lock|and|or|,)\s\Z"
)
_STARTERS = frozenset((
    "The", "This", "That", "These", "Those", "It", "He", "She", "We", "You", "They", "I", "A", "An", "In", "On", "At",
    "But", "And", "So", "If", "When", "While", "As", "For", "To", "My", "His", "Her", "Our", "Their", "There", "Here",
    "What", "Who", "Why", "How", "Is", "Are", "Was", "Were", "Do", "Does", "Did", "No", "Yes", "Then", "Now", "Not",
    "After", "Before", "By", "With", "From",
))  # fmt: skip
_DEGREES = {"Ph.D.": "P H D", "M.Sc.": "M S C", "B.Sc.": "B S C", "Ph.D": "P H D"}
_DEGREE = re.compile(r"Ph\.D\.?|[MB]\.Sc\.|Ed\.D\.|Psy\.D\.|LL\.[MB]\.|Pharm\.D\.")

_TITLES = {"mrs": "Mrs", "mr": "mister", "drs": "doctors", "dr": "doctor", "prof": "professor", "ms": "miz"}
"""Titles, which need no full stop. The engine stresses Mrs rightly and would spell Ms."""
_BEFORE_NAMES = {
    "Gen": "general", "Col": "colonel", "Maj": "major", "Lt": "lieutenant", "Rev": "reverend", "Hon": "honorable",
    "Sgt": "sergeant", "Capt": "captain", "Cpl": "corporal", "Pvt": "private", "Adm": "admiral", "Cmdr": "commander",
    "Gov": "governor", "Sen": "senator", "Sens": "senators", "Rep": "representative", "Reps": "representatives",
    "Pres": "president", "Supt": "superintendent", "Insp": "inspector", "Det": "detective", "Amb": "ambassador",
    "Fr": "father", "Sr": "senior", "Messrs": "messers", "Mme": "madame", "Mlle": "mademoiselle",
    "St": "saint", "Ste": "saint", "Sts": "saints", "Mt": "mount", "Mts": "mountains", "Ft": "fort", "Pt": "point",
    "Dir": "director", "Brig": "brigadier", "Cpt": "captain", "Pfc": "private first class", "Cdr": "commander",
    "Comdr": "commander", "Cmdt": "commandant", "Lieut": "lieutenant", "Ens": "ensign", "Cdre": "commodore",
    "Dep": "deputy", "Atty": "attorney", "Assoc": "associate", "Asst": "assistant", "GEN": "general",
    "COL": "colonel", "MAJ": "major", "LT": "lieutenant", "REV": "reverend", "ST": "saint", "FT": "fort",
}  # fmt: skip
_STREETS = {
    "St": "street", "Ave": "avenue", "Blvd": "boulevard", "Rd": "road", "Ln": "lane", "Ct": "court", "Sq": "square",
    "Pl": "place", "Pkwy": "parkway", "Hwy": "highway", "Ter": "terrace", "Cir": "circle", "Trl": "trail",
    "Expy": "expressway", "Ctr": "center", "Hts": "heights", "Mtn": "mountain",
}  # fmt: skip
_BEFORE_NUMBERS = {
    "no": "number", "nos": "numbers", "nr": "number", "vol": "volume", "vols": "volumes", "ch": "chapter",
    "chap": "chapter", "p": "page", "pp": "pages", "pg": "page", "fig": "figure", "figs": "figures", "eq": "equation",
    "eqs": "equations", "sec": "section", "art": "article", "para": "paragraph", "par": "paragraph", "l": "line",
    "ll": "lines", "v": "verse", "vv": "verses", "op": "opus", "ext": "extension", "apt": "apartment", "ste": "suite",
    "tel": "telephone", "rm": "room", "fl": "floor", "hwy": "highway", "rte": "route", "ver": "version", "c": "circa",
    "ca": "circa", "approx": "approximately", "max": "maximum", "min": "minimum", "pt": "part",
    "bk": "book", "ref": "reference", "tab": "table", "app": "appendix", "circ": "circa", "b": "born", "d": "died",
    "cl": "clause", "rev": "revision", "chaps": "chapters", "lat": "latitude", "long": "longitude",
    "lng": "longitude", "ser": "series", "sched": "schedule", "ed": "edition", "q": "question", "ex": "exercise",
}  # fmt: skip
_BEFORE_LETTERS = frozenset(
    ("app", "fig", "figs", "sec", "ex", "apt", "ste", "rm", "rev", "sched", "art", "tab", "eq", "vol")
)
_NO_DOT_NEEDED = frozenset(("apt", "hwy", "rte", "approx", "ext", "tel", "nos", "fig", "figs", "vol"))
_ANYWHERE = {
    "jr": "junior", "esq": "esquire", "ltd": "limited", "etc": "et cetera", "btw": "by the way", "vs": "versus",
    "approx": "approximately", "dept": "department", "univ": "university", "temp": "temperature", "ea": "each",
    "avg": "average", "max": "maximum", "incl": "including", "excl": "excluding", "govt": "government",
    "assn": "association", "bros": "brothers", "viz": "namely", "mfg": "manufacturing", "intl": "international",
    "natl": "national", "mgr": "manager", "dist": "district", "bldg": "building", "corp": "corporation",
    "blvd": "boulevard", "ave": "avenue", "hwy": "highway", "apt": "apartment", "wt": "weight", "qty": "quantity",
    "mins": "minutes", "hrs": "hours", "yrs": "years", "secs": "seconds", "tsp": "teaspoon", "tbsp": "tablespoon",
    "oz": "ounces", "lbs": "pounds", "exp": "experience", "cont": "continued", "inc": "incorporated", "rd": "road",
    "yr": "year", "lb": "pound", "yoy": "year over year", "qoq": "quarter over quarter",
    "ppl": "people", "misc": "miscellaneous", "anon": "anonymous", "subj": "subject",
    "asst": "assistant", "mgmt": "management", "pkg": "package", "attn": "attention", "cf": "compare",
    "wwii": "World War Two", "wwi": "World War One", "messrs": "messers", "fwd": "forward", "addl": "additional",
    "dia": "diameter", "ctrl": "control", "agg": "aggregate", "recd": "received", "cmd": "command", "ht": "height",
}  # fmt: skip
_WITHOUT_DOT = frozenset((
    "ctrl", "cmd",
    "jr", "esq", "ltd", "etc", "btw", "vs", "approx", "dept", "univ", "avg", "govt", "bros", "mgmt", "tbsp", "tsp",
    "yoy", "qoq", "ppl", "wwii", "wwi", "bldg", "blvd", "lbs", "hrs", "yrs", "mins", "qty", "misc", "pkg", "asst",
))  # fmt: skip
_NEVER_LAST = frozenset(("vs", "viz", "cf", "incl", "excl"))
"""After these the sentence always goes on: Ali vs. Frazier."""
_IN_CAPITALS = frozenset(
    ("etc", "jr", "ltd", "vs", "inc", "corp", "wwii", "wwi", "ave", "blvd", "hwy", "btw", "apt", "co")
)
_COMPANIES = {"Co": "company", "CO": "company", "Inc": "incorporated", "Sr": "senior"}

LOWER_WORDS = frozenset((*_TITLES, *_ANYWHERE, *_NO_DOT_NEEDED))
"""Words in lower case that may be abbreviations without a full stop."""
