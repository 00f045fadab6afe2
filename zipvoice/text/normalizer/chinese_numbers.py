# SPDX-License-Identifier: Apache-2.0
"""Chinese number words."""

import re

DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千", "万", "十", "百", "千", "亿", "十", "百", "千", "万", "十", "百", "千")
MAX_DIGITS = len(_PLACES)


def digit_by_digit(digits: str) -> str:
    """2024 -> 二零二四."""
    return "".join(DIGITS[int(d)] for d in digits if d.isdecimal())


def telephone(digits: str) -> str:
    """As on the telephone, 1 as 幺: 110 -> 幺幺零."""
    return digit_by_digit(digits).replace("一", "幺")


def cardinal(digits: str) -> str:
    """10086 -> 一万零八十六, for up to 16 digits; leading zeros do not count."""
    words = ""
    for place, d in zip(reversed(_PLACES[: len(digits)]), digits, strict=True):
        if d != "0":
            words += DIGITS[int(d)] + place
        else:
            words += ("零" if not words.endswith("零") and words else "") + (place if place in "万亿" else "")
    for redundant, kept in (("零万", "万"), ("零亿", "亿"), ("亿万", "亿")):
        words = words.replace(redundant, kept)
    words = words.strip("零")
    return words.removeprefix("一") if words.startswith("一十") else words or "零"


def number(digits: str) -> str:
    """A number with an optional decimal part, as spoken: 3.14 -> 三点一四, 2500 -> 两千五百.

    Codes such as 007, and numbers without a name, are read digit by digit.
    """
    whole, _, decimals = re.sub("[,_]", "", digits).partition(".")
    is_code = len(whole) > MAX_DIGITS or (len(whole) > 1 and whole[0] == "0" and not decimals)
    words = digit_by_digit(whole) if is_code else _with_liang(cardinal(whole or "0"))
    return f"{words}点{digit_by_digit(decimals)}" if decimals else words


def _with_liang(words: str) -> str:
    """两 for the first 二 before 千, 万 and 亿."""
    return "两" + words[1:] if words[:1] == "二" and words[1:2] in ("千", "万", "亿") else words
