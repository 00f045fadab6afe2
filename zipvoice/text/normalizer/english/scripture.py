# SPDX-License-Identifier: Apache-2.0
"""Places in the Bible and other scriptures, by book, chapter and verse."""

import re

from zipvoice.text.normalizer.english.numbers import cardinal
from zipvoice.text.normalizer.reading import Said, just_before

_SHORT = {
    "Gen": "Genesis", "Ex": "Exodus", "Exod": "Exodus", "Lev": "Leviticus", "Num": "Numbers", "Deut": "Deuteronomy",
    "Josh": "Joshua", "Judg": "Judges", "Sam": "Samuel", "Kgs": "Kings", "Chr": "Chronicles", "Chron": "Chronicles",
    "Neh": "Nehemiah", "Esth": "Esther", "Ps": "Psalm", "Pss": "Psalms", "Prov": "Proverbs", "Eccl": "Ecclesiastes",
    "Eccles": "Ecclesiastes", "Isa": "Isaiah", "Jer": "Jeremiah", "Lam": "Lamentations", "Ezek": "Ezekiel",
    "Dan": "Daniel", "Hos": "Hosea", "Mic": "Micah", "Hab": "Habakkuk", "Zech": "Zechariah", "Mal": "Malachi",
    "Matt": "Matthew", "Mt": "Matthew", "Mk": "Mark", "Lk": "Luke", "Jn": "John", "Rom": "Romans",
    "Cor": "Corinthians", "Gal": "Galatians", "Eph": "Ephesians", "Phil": "Philippians", "Col": "Colossians",
    "Thess": "Thessalonians", "Tim": "Timothy", "Heb": "Hebrews", "Jas": "James", "Pet": "Peter", "Rev": "Revelation",
}  # fmt: skip
_BOOKS = """
Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth Samuel Kings Chronicles Ezra Nehemiah Esther Job
Psalm Psalms Proverbs Ecclesiastes Isaiah Jeremiah Lamentations Ezekiel Daniel Hosea Joel Amos Obadiah Jonah
Micah Nahum Habakkuk Zephaniah Haggai Zechariah Malachi Matthew Mark Luke John Acts Romans Corinthians Galatians
Ephesians Philippians Colossians Thessalonians Timothy Titus Philemon Hebrews James Peter Jude Revelation Surah
Quran
"""
_LONG = _BOOKS.split()
_CHAPTER = r"\d{1,3}(?::\d{1,3})"
_ABBREVIATED = re.compile(
    rf"({'|'.join(_SHORT)})\.?(?=\s{_CHAPTER})"
    r"|(Pss?|Matt|Isa|Deut|Lev|Rom|Prov|Ezek|Jer)\.(?=\s\d)"
)
_NUMBERED = re.compile(rf"([123]) ((?:{'|'.join(_SHORT)})\.?|{'|'.join(_LONG)})(?=\s{_CHAPTER}|\s\d{{1,2}}(?!\w))")
_VERSES = re.compile(
    r"(\d{1,3}):(\d{1,3})(?:[-–](\d{1,3})(?::(\d{1,3}))?)?((?:,\s?\d{1,3}(?:-\d{1,3})?(?![\d:]))*)(?![\d:]|\s?[ap]\.?m)"
)
_BOOK = re.compile(rf"\b(?:{'|'.join(_LONG)}|(?:{'|'.join(_SHORT)})\.?)\s\Z")
_NUMBER = re.compile(r"\d+")


def book(text: str, start: int) -> Said | None:
    """Gen. 1:1, Ps. 23: the name of the book."""
    found = _ABBREVIATED.match(text, start)
    return Said(found.end(), _SHORT[found[1] or found[2]], "scripture") if found else None


def numbered_book(text: str, start: int) -> Said | None:
    """1 Cor. 13:4: first Corinthians."""
    found = _NUMBERED.match(text, start)
    if not found:
        return None
    name = found[2].rstrip(".")
    return Said(found.end(), f"{('first', 'second', 'third')[int(found[1]) - 1]} {_SHORT.get(name, name)}", "scripture")


def verse(text: str, start: int) -> Said | None:
    """John 3:16-18, Gen. 1:1–2:3: chapter and verse."""
    found = _VERSES.match(text, start)
    if not found or not just_before(_BOOK, text, start):
        return None
    words = f"{cardinal(found[1])} {cardinal(found[2])}"
    if found[3]:
        words += f" to {cardinal(found[3])}" + (f" {cardinal(found[4])}" if found[4] else "")
    more = _NUMBER.sub(lambda m: cardinal(m[0]), found[5].replace("-", " to "))
    return Said(found.end(), words + more, "scripture")
