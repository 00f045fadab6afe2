# SPDX-License-Identifier: Apache-2.0
"""Numbers, dates, times, amounts and units in Chinese text as Chinese words."""

import re
from collections.abc import Callable

DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千", "万", "十", "百", "千", "亿", "十", "百", "千", "万", "十", "百", "千")
MAX_DIGITS = len(_PLACES)


def digit_by_digit(digits: str) -> str:
    """2024 -> 二零二四."""
    return "".join(DIGITS[int(d)] for d in digits)


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
    """A number with an optional decimal part, as spoken: 3.14 -> 三点一四; codes such as 007 digit by digit."""
    whole, _, decimals = digits.partition(".")
    is_code = len(whole) > MAX_DIGITS or (len(whole) > 1 and whole[0] == "0" and not decimals)
    words = digit_by_digit(whole) if is_code else cardinal(whole or "0")
    return f"{words}点{digit_by_digit(decimals)}" if decimals else words


def spoken(text: str) -> str:
    """`text` with everything written in digits as words; the rest is unchanged.

    The rules apply in order, each over the whole text.
    """
    text = text.translate(_HALF_WIDTH)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


_HALF_WIDTH = str.maketrans("％＋－＝＜＞／＄＆￥−", "%+-=<>/$&¥-")

# A whole number or decimal. It starts where no digit precedes: tried at every digit of a long one, a rule that fails at
# its end would take quadratic time.
_NUM = r"(?:(?<!\d)(?<!\d\.)\d+(?:\.\d+)?)"
_CURRENCIES = {
    "¥": "元", "$": "美元", "US$": "美元", "HK$": "港元", "€": "欧元", "£": "英镑", "₩": "韩元", "₽": "卢布",
}  # fmt: skip
UNITS = {
    "km/h": "公里每小时", "m/s": "米每秒", "km²": "平方公里", "km2": "平方公里", "m²": "平方米", "m2": "平方米",
    "m³": "立方米", "m3": "立方米", "cm²": "平方厘米", "km": "公里", "cm": "厘米", "mm": "毫米", "kg": "千克",
    "mg": "毫克", "ml": "毫升", "mL": "毫升", "kW": "千瓦", "kHz": "千赫", "MHz": "兆赫", "GHz": "吉赫",
    "Hz": "赫兹", "ms": "毫秒", "µm": "微米", "µg": "微克", "min": "分钟", "m": "米", "g": "克", "L": "升",
    "°C": "摄氏度", "℃": "摄氏度", "°F": "华氏度", "℉": "华氏度", "°": "度",
}  # fmt: skip
"""What a unit after a number is called in Chinese."""

_OPERATORS = {
    "+": "加", "=": "等于", "×": "乘以", "÷": "除以", "<": "小于", ">": "大于", "≤": "小于等于", "≥": "大于等于",
    "≈": "约等于", "≠": "不等于", "&": "和", "±": "正负",
}  # fmt: skip


def _alternatives(words: dict[str, str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def _date(match: re.Match[str]) -> str:
    year, month, day = match.groups()
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return match[0]
    return f"{digit_by_digit(year)}年{cardinal(month)}月{cardinal(day)}日"


def _time(match: re.Match[str]) -> str:
    hour, minute, second = match.groups()
    words = number(str(int(hour))) + "点"
    if int(minute) or second:
        words += ("零" if int(minute) < 10 and minute != "00" else "") + cardinal(minute) + "分"
    return words + (cardinal(second) + "秒" if second else "")


_RULES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"(?<!\d)(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?!\d)"), _date),
    (re.compile(r"(?<!\d)(\d{2,4})(?=年)"), lambda m: digit_by_digit(m[1])),
    (re.compile(r"(?<![\d.])1[3-9]\d{9}(?![\d.])"), lambda m: digit_by_digit(m[0]).replace("一", "幺")),
    (re.compile(r"(?<![\d.-])\d+(?:-\d+){2,}(?![\d.])"), lambda m: digit_by_digit(m[0].replace("-", ""))),
    (re.compile(r"(?<![\d.-])0\d{2,3}-\d{7,8}(?![\d.])"), lambda m: digit_by_digit(m[0].replace("-", ""))),
    (re.compile(r"(?<![\d:：.])([01]?\d|2[0-4])[:：]([0-5]\d)(?:[:：]([0-5]\d))?(?![\d:：])"), _time),
    (re.compile(r"(?<=[点时])00(?=分)"), "零"),
    (re.compile(r"(\d)\s*[:：]\s*(?=\d)"), r"\1比"),
    (re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])"), lambda m: m[0].replace(",", "")),
    (
        re.compile(rf"({_alternatives(_CURRENCIES)})\s?({_NUM})([十百千万亿]*)"),
        lambda m: m[2] + m[3] + _CURRENCIES[m[1]],
    ),
    (re.compile(rf"({_NUM}%?)\s*-\s*({_NUM})(?=\s*=)"), r"\1减\2"),
    (re.compile(rf"({_NUM}%?)\s*[-~～–—]\s*(?={_NUM})"), r"\1到"),
    (re.compile(rf"(?<![0-9A-Za-z)%])-(?={_NUM})"), "负"),
    (re.compile(rf"(负?)({_NUM})%"), lambda m: f"{m[1]}百分之{number(m[2])}"),
    (re.compile(rf"(负?)({_NUM})‰"), lambda m: f"{m[1]}千分之{number(m[2])}"),
    (re.compile(r"(?<![\d.])(\d+)/(\d+)(?![\d.])"), lambda m: f"{number(m[2])}分之{number(m[1])}"),
    (re.compile(rf"({_NUM})\s?({_alternatives(UNITS)})(?![A-Za-z])"), lambda m: m[1] + UNITS[m[2]]),
    (re.compile(rf"(?<=[\w)])\s*({_alternatives(_OPERATORS)})\s*(?=[\w(])"), lambda m: _OPERATORS[m[1]]),
    (re.compile(r"(?<![0-9A-Za-z)])\+(?=\d)"), "正"),
    (re.compile(r"²"), "平方"),
    (re.compile(r"³"), "立方"),
    (re.compile(r"(?<!\d)\d+(?:\.\d+){2,}"), lambda m: "点".join(map(number, m[0].split(".")))),
    (re.compile(r"\d+(?:\.\d+)?"), lambda m: number(m[0])),
]
