# SPDX-License-Identifier: Apache-2.0
"""What units, currencies and measure words are called in Chinese. To add one, add a line to a table."""

import re
from collections.abc import Iterable

_SIMPLE_UNITS = {
    "km": "公里", "m": "米", "dm": "分米", "cm": "厘米", "mm": "毫米", "µm": "微米", "um": "微米", "nm": "纳米",
    "t": "吨", "kg": "千克", "g": "克", "mg": "毫克", "µg": "微克", "ug": "微克", "ng": "纳克", "lb": "磅",
    "oz": "盎司",
    "L": "升", "l": "升", "dL": "分升", "dl": "分升", "mL": "毫升", "ml": "毫升", "µL": "微升", "µl": "微升",
    "h": "小时", "min": "分钟", "s": "秒", "sec": "秒", "ms": "毫秒", "µs": "微秒", "ns": "纳秒",
    "Hz": "赫兹", "kHz": "千赫", "MHz": "兆赫", "GHz": "吉赫",
    "W": "瓦", "kW": "千瓦", "KW": "千瓦", "MW": "兆瓦", "GW": "吉瓦", "mW": "毫瓦",
    "V": "伏", "kV": "千伏", "mV": "毫伏", "A": "安", "mA": "毫安", "Ω": "欧姆", "kΩ": "千欧", "MΩ": "兆欧",
    "Wh": "瓦时", "kWh": "千瓦时", "mAh": "毫安时", "Ah": "安时", "µF": "微法", "pF": "皮法", "nF": "纳法",
    "J": "焦", "kJ": "千焦", "MJ": "兆焦", "cal": "卡", "kcal": "千卡", "eV": "电子伏", "keV": "千电子伏",
    "N": "牛", "kN": "千牛", "Pa": "帕", "kPa": "千帕", "hPa": "百帕", "MPa": "兆帕", "mmHg": "毫米汞柱", "bar": "巴",
    "mol": "摩尔", "mmol": "毫摩尔", "µmol": "微摩尔", "dB": "分贝", "lx": "勒克斯", "lm": "流明", "cd": "坎德拉",
    "ha": "公顷", "ft": "英尺", "mi": "英里", "px": "像素", "bit": "比特", "rad": "弧度",
    "°C": "摄氏度", "℃": "摄氏度", "°F": "华氏度", "℉": "华氏度", "°": "度", "′": "分", "″": "秒",
    "mph": "英里每小时", "kmh": "公里每小时", "rpm": "转每分", "bpm": "拍每分", "fps": "帧每秒", "bps": "比特每秒",
    "kbps": "千比特每秒",
    "Kbps": "千比特每秒", "Mbps": "兆比特每秒", "Gbps": "吉比特每秒", "bp": "个基点",
}  # fmt: skip

CURRENCIES = {
    "¥": "元", "$": "美元", "US$": "美元", "USD$": "美元", "HK$": "港元", "NT$": "新台币", "A$": "澳元", "AU$": "澳元",
    "C$": "加元", "CA$": "加元", "S$": "新加坡元", "R$": "雷亚尔", "RMB¥": "元", "€": "欧元", "£": "英镑", "₩": "韩元",
    "₽": "卢布", "₹": "卢比", "฿": "泰铢", "₫": "越南盾", "₿": "比特币", "₺": "里拉", "₴": "格里夫纳", "₱": "比索",
}  # fmt: skip
"""What a sign before an amount is called; the name comes behind the number."""

CURRENCY_CODES = {
    "RMB": "元", "CNY": "元", "USD": "美元", "EUR": "欧元", "GBP": "英镑", "HKD": "港元", "JPY": "日元", "KRW": "韩元",
    "TWD": "新台币", "AUD": "澳元", "CAD": "加元", "SGD": "新加坡元", "CHF": "瑞士法郎", "RUB": "卢布", "INR": "卢比",
}  # fmt: skip

_SQUARES = {"²": "平方", "2": "平方", "^2": "平方", "³": "立方", "3": "立方", "^3": "立方"}
_PER = "每"


def alternatives(names: Iterable[str]) -> str:
    """A pattern for any of the names, each before those that it begins with."""
    return "|".join(map(re.escape, sorted(names, reverse=True)))


_LENGTHS = ("km", "m", "dm", "cm", "mm", "µm", "nm", "ft")
_ATOM = rf"(?:(?:{alternatives(_LENGTHS)})(?:\^?[23]|[²³])|{alternatives(_SIMPLE_UNITS)})"
_END = r"(?![A-Za-zµΩ^])(?:(?!\d)|(?<=[hnms]))"  # 1h30min, but not H7N9
_NO_UNIT = r"(?!A[级景大游股类轮出口座号栋区门馆班组]|W[粉人播点阅+])"  # names, 5A级景区; ten thousand, 100W粉丝
UNIT = rf"(?:{_NO_UNIT}{_ATOM}(?:·{_ATOM})?(?:/{_ATOM})?{_END})"
"""A pattern for a unit, maybe of two parts: km/h, g/cm³, N·m."""

_PARTS = re.compile(rf"({_ATOM})|([·/])")


def unit_name(written: str) -> str:
    """What a unit that matches `UNIT` is called: g/cm³ -> 克每立方厘米."""
    return "".join(_atom_name(match[1]) if match[1] else _PER * (match[2] == "/") for match in _PARTS.finditer(written))


def _atom_name(atom: str) -> str:
    if atom in _SIMPLE_UNITS:
        return _SIMPLE_UNITS[atom]
    base = atom.rstrip("^23²³")
    return _SQUARES[atom[len(base) :]] + _SIMPLE_UNITS[base]


# Before these, 2 is 两. 月, 日, 号, 楼, 班, 级, 季, 集, 章, 单元 and the like name one of a series, where it stays 二.
_LIANG_WORDS = """
个 位 名 人 只 条 张 件 块 元 角 毛 斤 公斤 千克 克 吨 米 厘米 毫米 公里 千米 英里 英尺 英寸 升 毫升 亩
平方 立方 美元 欧元 英镑 港元 日元 美金 天 年 周 星期 小时 分钟 秒 岁 分 点 晚 夜 周年 次 遍 趟 回 步 本
册 套 间 户 家 所 座 台 辆 架 艘 支 枝 根 把 颗 粒 片 瓶 杯 碗 盘 盒 袋 包 箱 桶 罐 勺 份 场 轮 局 成 倍
折 种 项 门 道 字 句 段 部 首 幅 双 对 副 口 头 匹 群 队 组 朵 棵 株 滴 顿 声 眼 刀 圈 篇 封 则 款 枚 顶
扇 盏 股 笔 批 帮 类 样 站 节 端 行 列 国 地 省 市 县 胜 负 平 球 居室 室1 室一 度
"""
_SERIES_WORDS = "次会议 次全会 次全体会议 年级 分之 组长 人转 次方 次元 次函数 头身 点五 行代码 道口"
_OTHER_MEASURES = "月 日 号 楼 层 班 级 等 季 集 章 届 页 期 代 环 维 型 排 区 多 余 来 几 万 亿 千 百 十"
_LIANG = re.compile(rf"\s?(?!{alternatives(_SERIES_WORDS.split())})(?:{alternatives(_LIANG_WORDS.split())})")
_MEASURE = re.compile(rf"\s?(?:{alternatives([*_LIANG_WORDS.split(), *_OTHER_MEASURES.split()])})")


def wants_liang(after: str) -> bool:
    """True if 2 before this text is 两: 个, 小时, but not 月 or 号."""
    return _LIANG.match(after) is not None


def is_measured(after: str) -> bool:
    """True if this text begins with a measure word, so that the number before it is a quantity."""
    return _MEASURE.match(after) is not None
