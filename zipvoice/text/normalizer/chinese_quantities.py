# SPDX-License-Identifier: Apache-2.0
"""Quantities in Chinese text: sign, comparison, currency, number, magnitude and unit, parsed once and then said."""

import re
from dataclasses import dataclass, replace
from decimal import Decimal

from zipvoice.text.normalizer import chinese_context as context
from zipvoice.text.normalizer.chinese_numbers import digit_by_digit, number, telephone
from zipvoice.text.normalizer.chinese_units import (
    CURRENCIES,
    CURRENCY_CODES,
    UNIT,
    alternatives,
    is_measured,
    unit_name,
    wants_liang,
)

NUMBER = r"(?:\d{1,3}(?:(?:,\d{3})+|(?:_\d{3})+)(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)"
SEPARATOR = r"\s?(?:--|——|[-–—−~～〜―到至])\s?"

_COMPARISONS = {
    "<=": "小于等于", "≤": "小于等于", ">=": "大于等于", "≥": "大于等于", "≦": "小于等于", "≧": "大于等于",
    "⩽": "小于等于", "⩾": "大于等于", "<": "小于", ">": "大于", "≈": "约等于", "~": "约", "～": "约",
}  # fmt: skip
_PARTS_OF_WHOLES = {"%": "百分之", "‰": "千分之", "‱": "万分之", "ppm": "百万分之", "ppb": "十亿分之"}
_MAGNITUDE = r"(?:[十百千万亿]+(?![克米瓦赫卡焦帕伏货姓合])|w(?![A-Za-z])|W(?=(?:[-–~～到至][\d.]+W)?[粉人播点阅+]))"


def _pattern(*names: str) -> str:
    """The grammar of a quantity, its parts in groups if they get names."""
    part = iter([f"?P<{name}>" for name in names] or ["?:"] * 6)
    return (
        rf"(?:({next(part)}(?:(?<![\w)])(?:{alternatives(_COMPARISONS)})|(?<=[\u4e00-\u9fff])[~～])\s?))?"
        rf"({next(part)}(?<![0-9A-Za-z)%。？！?!²³⁰¹⁴-⁹])[-−–+±])?"
        rf"(?:({next(part)}{alternatives(CURRENCIES)})\s?)?"
        rf"({next(part)}(?<!\d){NUMBER})"
        rf"({next(part)}\s?{_MAGNITUDE})?"
        rf"({next(part)}\s?(?:[%‰‱]|pp[mb](?![A-Za-z])|{UNIT}|(?:{alternatives(CURRENCY_CODES)})(?![A-Za-z])))?"
    )


QUANTITY = _pattern()
"""A pattern for a quantity without groups of its own."""
RANGE = rf"{QUANTITY}{SEPARATOR}{QUANTITY}"

_QUANTITY = re.compile(_pattern("comparison", "sign", "currency", "number", "magnitude", "unit"))
_SEPARATOR = re.compile(SEPARATOR)

_THOUSANDS = {"k": 3, "m": 6, "b": 9, "t": 12}
_LETTER = "(?:[KkMBT]|[MmBbTt]n)"
_NAMED_MONEY = (
    rf"(?P<currency>{alternatives(CURRENCIES)})\s?"
    rf"(?:(?P<first>{NUMBER})(?P<magnitude>{_LETTER})?{SEPARATOR}(?:{alternatives(CURRENCIES)})?)?"
    rf"(?P<last>{NUMBER})\s?(?P<letter>{_LETTER})(?![A-Za-z])"
)
_MONEY = re.compile(_NAMED_MONEY)
MONEY = re.sub(r"\?P<\w+>", "?:", _NAMED_MONEY)
"""A pattern for amounts with the magnitudes of English, without groups of its own."""


@dataclass(frozen=True)
class ChineseQuantity:
    """A number with all that belongs to it, as written."""

    number: str
    comparison: str = ""
    sign: str = ""
    currency: str = ""
    magnitude: str = ""
    unit: str = ""

    @property
    def is_bare(self) -> bool:
        """True for digits alone, which may be a code or a year as well as a count."""
        return not (self.currency or self.magnitude or self.unit) and self.number.isdecimal()


def parsed(text: str, position: int) -> tuple[ChineseQuantity, int]:
    """The quantity that begins at `position`, and where it ends."""
    match = _QUANTITY.match(text, position)
    assert match
    parts = {name: (value or "").strip() for name, value in match.groupdict().items()}
    return ChineseQuantity(**parts), match.end()


def said(quantity: ChineseQuantity, before: str, after: str) -> str:
    """The words of a quantity between the texts `before` and `after`."""
    words = _number_words(quantity, before, after) + _in_characters(quantity.magnitude)
    if quantity.unit in _PARTS_OF_WHOLES:
        words = _PARTS_OF_WHOLES[quantity.unit] + ("百" if words == "一百" and quantity.unit == "%" else words)
    sign = _sign_words(quantity, before)
    comparison = _COMPARISONS.get(quantity.comparison, "")
    if comparison and before.rstrip().endswith(comparison):
        comparison = ""  # 约~5
    return comparison + sign + words + _name_behind(quantity, before, after)


def money_said(match: re.Match[str]) -> str:
    """$3.04T -> 三点零四万亿美元, $1-2B -> 十到二十亿美元: the English thousands in Chinese ones."""
    found = _MONEY.fullmatch(match[0])
    assert found
    zeros = _THOUSANDS[found["letter"][0].lower()]
    words = _in_ten_thousands(found["last"], zeros)
    if found["first"]:
        first_zeros = _THOUSANDS[found["magnitude"][0].lower()] if found["magnitude"] else zeros
        words = f"{_in_ten_thousands(found['first'], first_zeros)}到{words}"
    return words + CURRENCIES[found["currency"]]


def _in_ten_thousands(digits: str, zeros: int) -> str:
    """1.2 and nine zeros -> 十二亿."""
    amount = Decimal(re.sub("[,_]", "", digits)).scaleb(zeros)
    shift = next((places for places in (12, 8, 4) if amount >= 10**places), 0)
    exact = f"{amount.scaleb(-shift).normalize():f}"
    return number(exact) + {12: "万亿", 8: "亿", 4: "万", 0: ""}[shift]


def range_said(match: re.Match[str], before: str, after: str) -> str:
    """The words of two quantities with a hyphen, dash or tilde between: a range, a score, a difference, two codes."""
    text = match.string
    first, end = parsed(text, match.start())
    separator = _SEPARATOR.match(text, end)
    assert separator
    last, _ = parsed(text, separator.end())
    mark = separator[0].strip()
    if mark[0] not in "到至":
        special = _special_pair(first, last, mark, before, after)
        if special:
            return special
    word = mark if mark in ("到", "至") else "到"
    if last.unit in _PARTS_OF_WHOLES and not first.unit:
        first = replace(first, unit=last.unit)
    if first.currency and not last.currency and not last.unit:
        first, last = replace(first, currency=""), replace(last, currency=first.currency)
    if not first.is_bare:
        return said(first, before, "") + word + said(last, "", after)
    following = _in_characters(last.magnitude) or _name_behind(last, before, after) or after
    return said(first, before, following) + word + said(last, before, after)


def _special_pair(first: ChineseQuantity, last: ChineseQuantity, mark: str, before: str, after: str) -> str:
    """What two bare numbers mean that are no range; empty if they are one."""
    if re.match(r"\s?=", after):
        return f"{said(first, before, '')}减{said(last, '', after)}"
    if not (first.is_bare and last.is_bare) or last.sign:
        return ""
    if context.is_figure(before):
        return f"{number(first.number)}杠{number(last.number)}"
    if context.is_telephone(first.number + last.number, before, after):
        return telephone(first.number + last.number)
    if context.is_code_of_parts(before, after) or context.is_standard(before) or re.match(r"0\d", last.number):
        return f"{digit_by_digit(first.number)}杠{digit_by_digit(last.number)}"
    if context.is_year(last.number, before, after) and len(first.number) == 4:
        return f"{digit_by_digit(first.number)}到{digit_by_digit(last.number)}"
    if context.is_period(first.number, last.number, before, after):
        return f"{digit_by_digit(first.number)}到{digit_by_digit(last.number)}"
    if len(first.number) == 4 and len(last.number) == 2 and context.is_season(after):
        return f"{digit_by_digit(first.number)}到{digit_by_digit(last.number)}"
    if mark in "-–" and context.is_score(before, after) and (not is_measured(after) or context.is_result(after)):
        return f"{number(first.number)}比{number(last.number)}"
    return ""


def _number_words(quantity: ChineseQuantity, before: str, after: str) -> str:
    digits = quantity.number
    if "." in digits and context.is_event(after):
        return digit_by_digit(digits)  # 11.11大促
    if digits == "2" and not quantity.sign and not _names_one_of_a_series(before):
        following = _in_characters(quantity.magnitude) or _name_behind(quantity, before, after) or after
        return "两" if wants_liang(following) or following[:1] in tuple("百千万亿") else "二"
    if not quantity.is_bare:
        return number(digits)
    if context.is_telephone(digits, before, after) or context.is_line(digits, before, after):
        return telephone(digits)
    if context.is_year(digits, before, after) or context.is_code(digits, before, after):
        return digit_by_digit(digits)
    if context.is_generation(digits, before, after):
        return digit_by_digit(digits)
    if _is_nickname(digits, before, after) or _is_model(digits, before, after):
        return digit_by_digit(digits)
    return number(digits)


_NAMED = re.compile(r"(?:座位?号?|出口|登机口|[从到]|柜台|栋|室|教室|附件?|第)[为是：:]?\s?\Z")
_SERIES = re.compile(r"(?:[第初周老民国十A-Za-z]|星期|礼拜)\s?-?\Z")


def _names_one_of_a_series(before: str) -> bool:
    return _SERIES.search(before) is not None


_NICKNAME = re.compile("23{3,}|6{3,}|5{3,}|8{4,}|520|521|1314|886|996|618|985|211|315|404|502|360|12306|12345|12315")
_COUNTING = re.compile(r"(?:[=＝是为达约共到至有近超过第]|[到过破涨跌花卖买达用成得]了|等于)\s?\Z")


def _is_nickname(digits: str, before: str, after: str) -> bool:
    """True for numbers that people use as words: 666, 520, 985."""
    if _COUNTING.search(before):
        return False
    if context.is_event(after):
        return len(digits) >= 3
    if is_measured(after):
        return False
    return _NICKNAME.fullmatch(digits) is not None or (digits == "88" and after.strip()[:1] in ("", "~", "～"))


def _is_model(digits: str, before: str, after: str) -> bool:
    """True for three digits and more after Latin letters or the name of a maker: C919, RTX 4090, 波音747."""
    named = re.search(r"(?:[A-Za-z][- ]?|波音|空客|奔驰|宝马|标致|歼|轰)\Z", before)
    return bool(named) and len(digits) >= 3 and not digits.endswith("00") and after[:1] not in tuple("个元万次")


def _in_characters(magnitude: str) -> str:
    return magnitude.replace("w", "万").replace("W", "万")


def _sign_words(quantity: ChineseQuantity, before: str) -> str:
    if quantity.sign == "+":
        return "加" if re.search(r"\w\Z", before) and not (quantity.unit or quantity.currency) else "正"
    if quantity.sign == "±":
        return "正负"
    return "负" if quantity.sign else ""


def _name_behind(quantity: ChineseQuantity, before: str, after: str) -> str:
    """The currency or unit, which follows the number in speech; none where the text says it itself."""
    if quantity.currency:
        name = CURRENCIES[quantity.currency]
        return "" if re.match(rf"\s?(?:{name}|[元块角圆]|[美欧港日]元|英镑|人民币|[美港]币|美金)", after) else name
    unit = quantity.unit
    if unit in _PARTS_OF_WHOLES:
        return ""
    if unit == "s" and re.search(r"[A-Za-z] ?\Z", before):
        return unit  # iPhone 5s
    if unit in ("A", "h", "t", "g") and _NAMED.search(before):
        return unit  # 座位12A
    return CURRENCY_CODES.get(unit) or unit_name(unit)
