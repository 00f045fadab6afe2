# SPDX-License-Identifier: Apache-2.0
"""Numbers, dates, times, amounts, formulas and symbols in Chinese text as Chinese words.

One pattern finds, from left to right, everything written in digits and signs. Each of its branches is a kind of
expression with a function that says it; what a bare number means (a count, a code, a year, a score) the words around it
decide, in `chinese_context`. docs/text.md has the readings by kind.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache

from zipvoice.text.normalizer import chinese_context as context
from zipvoice.text.normalizer.chinese_numbers import cardinal, digit_by_digit, number, telephone
from zipvoice.text.normalizer.chinese_quantities import (
    MONEY,
    NUMBER,
    QUANTITY,
    RANGE,
    money_said,
    parsed,
    range_said,
    said,
)
from zipvoice.text.normalizer.chinese_units import UNIT, is_measured, unit_name
from zipvoice.text.normalizer.english.formulas import ATOMS, PARTS
from zipvoice.text.normalizer.reading import Reading


def readings(text: str) -> Iterator[Reading]:
    """Everything in Chinese `text` that is not read as written, in order, in time linear in its length."""
    for match in _grammar().finditer(text):
        rule = str(match.lastgroup)
        yield Reading(rule, match.start(), match.end(), _SAY[rule](match))


def half_width(text: str) -> str:
    """`text` with the signs that the grammar knows in their narrow forms, each in its place."""
    return text.translate(_HALF_WIDTH)


def spoken(text: str) -> str:
    """`text` with everything written in digits as words; the rest is unchanged."""
    return spoken_with_origins(text)[0]


def spoken_with_origins(text: str) -> tuple[str, list[tuple[int, int]]]:
    """As `spoken`, with (position in the result, position in `text`) wherever their distance changes."""
    text = half_width(text)
    parts: list[str] = []
    origins = [(0, 0)]
    length = end = 0
    for reading in readings(text):
        parts += (text[end : reading.start], reading.words)
        length += reading.start - end + len(reading.words)
        end = reading.end
        origins.append((length, end))
    return "".join([*parts, text[end:]]), origins


_HALF_WIDTH = str.maketrans("％＋－＝＜＞／＄＆￥−＾＊＠＃μº", "%+-=<>/$&¥-^*@#µ°")


# ---------------------------------------------------------------- dates and times


def _date(match: re.Match[str]) -> str:
    year, month, day = re.split(r"[-/.]", match[0])
    return f"{digit_by_digit(year)}年{cardinal(month)}月{cardinal(day)}日"


def _month(match: re.Match[str]) -> str:
    year, month = match[0].split("-")
    return f"{digit_by_digit(year)}年{cardinal(month)}月"


def _time(match: re.Match[str]) -> str:
    """9:05 -> 九点零五分; 00:03:15, and after 成绩 and the like 2:03:59, is a duration."""
    clock, half = re.fullmatch(r"([\d:：]+)\s?([apAP]?).*", match[0]).groups()  # type: ignore[union-attr]
    hour, minute, *second = re.split("[:：]", clock)
    before, after = context.before(match), context.after(match)
    is_no_time = context.is_score(before, after) or context.is_ratio(before, after)
    if is_no_time and not second and not half:
        return f"{number(str(int(hour)))}比{number(str(int(minute)))}"
    if second and hour == "00" and not half and not context.is_clock(before):
        minutes = f"{number(str(int(minute)))}分" if int(minute) else ""
        return (minutes + (f"{cardinal(second[0])}秒" if int(second[0]) else "钟" * bool(minutes))) or "零秒"
    if context.is_duration(before) and not second:
        return _minutes(match)
    words = ("两" if int(hour) == 2 else number(str(int(hour)))) + ("小时" if context.is_duration(before) else "点")
    if int(minute) or second:
        words += ("零" if int(minute) < 10 and minute != "00" else "") + cardinal(minute) + "分"
    words += cardinal(second[0]) + "秒" if second else ""
    said_before = re.search(r"[早晚晨夜]上?\s?\Z|[上下中]午\s?\Z", before)
    return ("" if said_before else {"a": "上午", "p": "下午"}.get(half.lower(), "")) + words


def _minutes(match: re.Match[str]) -> str:
    """52:30 -> 五十二分三十秒."""
    minutes, seconds = re.findall(r"\d+", match[0])
    first = "两" if int(minutes) == 2 else number(str(int(minutes)))
    return f"{first}分{'零' if seconds[0] == '0' else ''}{cardinal(seconds)}秒"


def _days(match: re.Match[str]) -> str:
    """9·11 -> 九一一."""
    return digit_by_digit(match[0])


# ---------------------------------------------------------------- codes


def _telephone(match: re.Match[str]) -> str:
    return ("加" if match[0][0] == "+" else "") + telephone(match[0])


def _chain(match: re.Match[str]) -> str:
    """Several numbers with hyphens between: 400-820-8820, 4-3-3."""
    digits = match[0].replace("-", "")
    return telephone(digits) if len(digits) >= 7 else digit_by_digit(digits)


def _version(match: re.Match[str]) -> str:
    """2.0.1 -> 二点零点一; the parts of an address such as 192.168.1.1 digit by digit."""
    parts = match[0].split(".")
    say = digit_by_digit if any(len(part) > 2 for part in parts) else number
    return "点".join(map(say, parts))


def _processor(match: re.Match[str]) -> str:
    """i7-13700K -> i七一三七零零K: a model of a series, whose hyphen is silent."""
    series, model = match[0].split("-")
    return number(series) + digit_by_digit(model)


def _levels(match: re.Match[str]) -> str:
    """L2-L4 -> L二到L四."""
    return match[0][0] + number(match[0][1:].rstrip("-–~～ ")) + "到"


def _hyphen(match: re.Match[str]) -> str:
    """GPT-4 -> GPT四, but x-5 -> x减五."""
    return "减" if match[0] != "-" or re.search(r"(?:(?<![A-Za-z])[a-z]|[^A-Za-z])\Z", context.before(match)) else ""


# ---------------------------------------------------------------- ratios, fractions, formulas


def _ratio(match: re.Match[str]) -> str:
    if context.is_duration(context.before(match)) and re.fullmatch(r"\d{1,3}[:：][0-5]\d", match[0]):
        return _minutes(match)
    return "比".join(number(part.strip()) for part in re.split("[:：]", match[0]))


def _fraction(match: re.Match[str]) -> str:
    """3/4 -> 四分之三, 1 1/2 -> 一又二分之一; 血压120/80 has a ratio, 50/60Hz a choice."""
    whole, above, below, unit = _FRACTION.fullmatch(match[0]).groups()  # type: ignore[union-attr]
    name = unit_name(unit.strip()) if unit else ""
    if "血压" in context.before(match) or unit == "mmHg":
        return f"{number(above)}比{number(below)}{name}"
    if len(below) > 1 and name in ("赫兹", "伏", "安", "千赫", "兆赫"):
        return f"{number(above)}或{number(below)}{name}"
    if int(below) == 0 or (int(above) > int(below) >= 20):
        say = digit_by_digit if len(above) == len(below) == 3 else number
        return f"{say(above)}、{say(below)}{name}"
    if not unit and int(above) <= 12 and int(below) <= 31 and context.is_deadline(context.before(match)):
        return f"{cardinal(above)}月{cardinal(below)}日"
    words = f"{cardinal(below)}分之{cardinal(above)}"
    return (f"{number(whole)}又" if whole else "") + words + name


def _power(match: re.Match[str]) -> str:
    """10^8 -> 十的八次方, x² -> x的平方."""
    base, exponent, unit = _POWER.fullmatch(match[0]).groups()  # type: ignore[union-attr]
    exponent = exponent.translate(_RAISED).strip("^{}")
    sign = "负" if exponent[0] == "-" else ""
    name = {"2": "平方", "3": "立方"}.get(exponent) or f"{sign}{cardinal(exponent.lstrip('-'))}次方"
    return (number(base) if base[0].isdecimal() else base) + "的" + name + (unit_name(unit.strip()) if unit else "")


def _chemical(match: re.Match[str]) -> str:
    """CO2 -> C O二: letter by letter, not the word that the letters are."""
    return " ".join(number(part) if part.isdecimal() else part.upper() for part in PARTS.findall(match[0]))


_OPERATORS = {
    "+": "加", "=": "等于", "==": "等于", "÷": "除以", "<": "小于", ">": "大于", "≤": "小于等于", "≥": "大于等于",
    "<=": "小于等于", ">=": "大于等于", "≈": "约等于", "≠": "不等于", "!=": "不等于", "±": "正负", "&": "和", "∶": "比",
}  # fmt: skip


def _operator(match: re.Match[str]) -> str:
    symbol = match[0].strip()
    following = context.after(match)
    if symbol == "&" and context.before(match)[-1:].isascii() and following[:1].isascii():
        return match[0]  # AT&T
    if symbol in _OPERATORS:
        return _OPERATORS[symbol]
    in_equation = re.match(r"[\d.]+\s*=|10(?:\^|[⁰-⁹²³])", following)
    return "乘以" if in_equation else "乘"


def _coordinate(match: re.Match[str]) -> str:
    name = {"N": "北纬", "S": "南纬", "E": "东经", "W": "西经"}[match[0][-1]]
    said_before = context.before(match).rstrip().endswith(name)
    return f"{'' if said_before else name}{number(match[0][:-2])}度"


# ---------------------------------------------------------------- quantities


def _quantity(match: re.Match[str]) -> str:
    quantity, _ = parsed(match.string, match.start())
    return said(quantity, context.before(match), context.after(match))


def _range(match: re.Match[str]) -> str:
    return range_said(match, context.before(match), context.after(match))


def _halves(match: re.Match[str]) -> str:
    """1米75 -> 一米七五, 3块5 -> 三块五."""
    whole, measure, rest = re.fullmatch(r"(\d+)(\D)(\d+)", match[0]).groups()  # type: ignore[union-attr]
    say = digit_by_digit if measure == "秒" else number if is_measured(context.after(match)) else digit_by_digit
    return ("两" if whole == "2" else number(whole)) + measure + say(rest)


def _either(match: re.Match[str]) -> str:
    """2、3个 -> 两三个."""
    return "".join("两" if digit == "2" else number(digit) for digit in match[0].split("、"))


def _ordinal(match: re.Match[str]) -> str:
    return "第" * (match[0][0] == "第") + cardinal(str(_roman(match[0].strip("第 "))))


def _roman(letters: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10, "L": 50}[letter] for letter in letters]
    return sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))


# ---------------------------------------------------------------- the grammar

_SUPERSCRIPT = "[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]"
_RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_EXPONENT = rf"(?:\^\{{?-?\d{{1,16}}\}}?|{_SUPERSCRIPT}{{1,16}})"
_FRACTION = re.compile(rf"(?:(\d{{1,8}})(?:\s|又))?(\d{{1,16}})/(\d{{1,16}})(\s?{UNIT})?")
_POWER = re.compile(rf"({NUMBER}|[A-Za-z)）])({_EXPONENT})([\s/]?{UNIT})?")
_HALF_OF_DAY = r"(?:\s?[aApP]\.?[mM]\.?(?![A-Za-z]))?"
_CLOCK = rf"(?<![\d.])(?<!\d[:：])(?:[01]?\d|2[0-4])[:：][0-5]\d(?:[:：][0-5]\d)?(?![\d:：]){_HALF_OF_DAY}"
_LATER = (
    r"公元|前\d|次日|翌日|第二天|凌晨|[早晚]|[上下中]午|[明今]|周|星期|至今|现在"
    r"|\d{1,2}[:：]\d\d|\d{4}[-/.]\d|\d{1,4}\s?[年月日号时点]"
)
_MEASURES_BELOW = "斤公千克吨米平亩个人次件台位天日周月年小分秒晚夜瓶盒箱包份张套度升字股只头间辆组"
_MODELS = "歼|轰|运|直|强击|东风|长征|神舟|天舟|天宫|嫦娥|红旗|鹰击|巨浪|米格|苏|枭龙|空警|玉兔|北斗|快舟|捷龙|引力"
_OPERANDS = r"[\w(（√∠π+-]"
_SYMBOLS: dict[str, str] = {
    "π": "派",
    "√": "根号", "∠": "角", "∞": "无穷大", "∵": "因为", "∴": "所以", "%": "百分号", "‰": "千分号", "&": "和",
    "@": " at ", "#": "井号", "℃": "摄氏度", "°": "度", "=": "等于", "→": "到", "↑": "上升", "↓": "下降",
}  # fmt: skip
_RULES: dict[str, tuple[str, Callable[[re.Match[str]], str]]] = {
    "address": (
        r"(?:https?|ftp)://[^\s<>\"\u2010-\uffff]+|(?<![A-Za-z0-9.])www\.[^\s<>\"\u2010-\uffff]+"
        r"|(?<![A-Za-z0-9_.+-])[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
        r"|(?<![A-Za-z0-9@.-])(?:[A-Za-z][A-Za-z0-9-]{0,62}\.){1,8}(?:com|org|net|edu|gov|io|ai|cn)(?![A-Za-z0-9-])",
        lambda match: match[0],
    ),
    "date": (
        r"(?<![\d.])[12]\d{3}(?:-(?:0?[1-9]|1[0-2])-|/(?:0?[1-9]|1[0-2])/|\.(?:0?[1-9]|1[0-2])\.)"
        r"(?:3[01]|[12]\d|0?[1-9])(?![\d/]|[.-]\d)",
        _date,
    ),
    "minute": (r"(?<=点)00(?=分)", lambda match: "零"),
    "month": (r"(?<!\d)(?:19|20)\d\d-(?:0[1-9]|1[0-2])(?![\d-]|赛季|年|学年)", _month),
    "salary": (r"(?<=\d[kK])\s?[-–—~～]\s?(?=\d[\d.]{0,5}[kK](?![A-Za-z]))", lambda match: "到"),
    "lines": (
        r"(?<![\d.])(?:240|360|480|720|1080|1440|2160)(?=[pPi](?![A-Za-z\d]))",
        lambda match: digit_by_digit(match[0]),
    ),
    "span": (
        rf"(?<=[\d年月日号时点分秒天旬季一二三四五六mM半刻])\s?[-–—~～]{{1,2}}\s?(?={_LATER})",
        lambda match: "到",
    ),
    "time": (_CLOCK, _time),
    "telephone": (
        r"(?<![\d.])(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![\d.])"
        r"|(?<![\w.])\+\d{1,3}(?:[- ]\d{2,4}){1,3}[- ]\d{2,8}(?!\d)"
        r"|(?<![\d.-])(?:\(0\d{2,3}\)|0\d{2,3})[- ]?\d{3,4}[- ]?\d{4}(?:-\d{1,5})?(?![\d.])"
        r"|(?<![\d.-])[48]00[- ]\d{3,4}[- ]?\d{3,4}(?!\d)",
        _telephone,
    ),
    "processor": (r"(?<=[A-Za-z])\d{1,2}-\d{4,5}(?!\d|[.,]\d|[%°℃-])", _processor),
    "levels": (
        r"(?<![A-Za-z\d-])(?P<letter>[A-Z])\d{1,2}\s?[-–~～]\s?(?=(?P=letter)\d{1,2}(?![A-Za-z\d.-]))",
        _levels,
    ),
    "numero": (r"(?<![A-Za-z])[Nn][Oo]\.\s?(?=\d)", lambda match: "第"),
    "chain": (r"(?<![\d.-])\d{1,12}(?:-\d{1,12}){2,8}(?![\d.]\d)", _chain),
    "day": (r"(?<![\d·])\d{1,2}[·•・]\d{1,2}(?![\d·])", _days),
    "minutes": (r"(?<![\d.])\d{1,3}['′’][0-5]\d[\"″”]", _minutes),
    "version": (r"(?<!\d)(?<!\d\.)\d+(?:\.\d+){2,}", _version),
    "ratio": (rf"(?<!\d){NUMBER}\s?[:：]\s?{NUMBER}(?:[:：]{NUMBER})*", _ratio),
    "coordinate": (rf"(?<!\d){NUMBER}°[NSEW](?![A-Za-z])", _coordinate),
    "power": (rf"(?:(?<!\d){NUMBER}|[A-Za-z)）]){_EXPONENT}(?:[\s/]?{UNIT})?", _power),
    "fraction": (
        rf"(?<![\d./])(?:\d{{1,8}}(?:\s|又))?\d{{1,16}}/\d{{1,16}}(?![\d/]|\.\d)(?:\s?{UNIT})?",
        _fraction,
    ),
    "either": (
        r"(?<![\d、])(?:1、2|2、3|3、4|4、5|5、6|6、7|7、8|8、9)(?=[个只条天年次人位名岁斤米公小分件张块])",
        _either,
    ),
    "halves": (r"(?<![\d.,])\d{1,4}(?:[米块元尺万千亿]|秒(?=\d\d(?![分秒度])))\d{1,2}(?![\d.,%]|[A-Za-z°℃])", _halves),
    "money": (MONEY, money_said),
    "range": (RANGE, _range),
    "quantity": (QUANTITY, _quantity),
    "formula": (rf"(?<![A-Za-z\d])(?=[A-Za-z]{{1,8}}\d)(?:{ATOMS}){{2,12}}(?![A-Za-z\d-])", _chemical),
    "model": (rf"(?:{_MODELS})-(?=\d{{1,4}}(?![\d.%°℃]))", lambda match: match[0][:-1]),
    "hyphen": (r"(?<=[A-Za-z²³⁰¹⁴-⁹])-(?=\d)|(?<=[xyzn²³)）]) [-−] (?=\d*[xyz(（\d])", _hyphen),
    "ordinal": (
        r"第\s?(?:[IVXL]{1,6}\s?(?=[章卷部节回期届集])|[IVXL]{2,6}(?![A-Za-z\d])\s?)"
        r"|(?<![A-Za-z])(?:I{1,3}|IV|VI{1,3}|IX)\s?(?=[型级期类度世代])",
        _ordinal,
    ),
    "pair": (r"(?<=[元镑郎币铢金])/(?=人民币|[美欧日港韩澳加]元|英镑|卢布|瑞郎)", lambda match: "兑"),
    "per": (
        rf"(?<=[元块次个台人]){re.escape('/')}{UNIT}|(?<=[\w])/(?=[{_MEASURES_BELOW}])",
        lambda match: "每" + unit_name(match[0][1:]),
    ),
    "operator": (
        r"(?<=[A-Za-z%+])\+(?!\w)"
        rf"|(?<=[\w)）%°℃²³])\s*(?:[!=<>]=|[+=÷<>≤≥≈≠±&∶×]|(?<=\d)[*xX](?=\d))\s*(?={_OPERANDS})"
        r"|(?:(?<=[\d万千百亿])|(?<=\d[wW]))\+(?!\w)",
        _operator,
    ),
    "symbol": (r"[π√∠∞∵∴%‰&@#℃°=→]|[↑↓](?=\s?\d)", lambda match: _SYMBOLS[match[0]]),
    "drawl": (r"[~～]+", lambda match: "，" if re.match(r"\s*\w", context.after(match)) else ""),
}


@cache
def _grammar() -> re.Pattern[str]:
    """All rules; it takes a tenth of a second, which texts of other languages need not wait for."""
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, (pattern, _) in _RULES.items()))


_SAY = {name: say for name, (_, say) in _RULES.items()}
