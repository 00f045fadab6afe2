# SPDX-License-Identifier: Apache-2.0
"""What the words around a number say about it: a telephone number, a code, a score, a year."""

import re

from zipvoice.text.normalizer.chinese_units import is_measured

REACH = 24
"""How many characters before and after a number are looked at."""


def before(match: re.Match[str]) -> str:
    """The text before a match, as far as it matters; before the first of several scores."""
    others = _OTHER_SCORES.search(match.string, max(0, match.start() - 4 * REACH), match.start())
    begin = others.start() if others else match.start()
    return match.string[max(0, begin - REACH) : match.start()]


def after(match: re.Match[str]) -> str:
    """The text after a match, as far as it matters."""
    return match.string[match.end() : match.end() + REACH]


_OTHER_SCORES = re.compile(r"(?<![\d.])(?:\d{1,3}[-:：–]\d{1,3}[、，,；;\s]{1,2}){1,12}\Z")
_FILLER = r"[的了个位数字号码尾后末前为是或和、：:；“\"「『（(\s零一二三四五六七八九十\d-]{0,16}"
_TELEPHONE_WORDS = (
    "电话|手机|热线|拨打|拨|致电|座机|传真|客服|来电|打|呼叫|短信到|发送到|总机|分机|转|固话|尾号|卡号|号段"
    "|报警|急救|火警|交通事故"
)
_SHORT_NUMBER = re.compile(r"11[0249]|12[02]|1(?!2345)[012]\d{3}|9[56]\d{3}")
_ITS_SERVICE = re.compile(r"\s?(?:报警|急救|火警|查号|交通事故|消防|热线|客服|服务(?:热线|电话)|电话|官网|网站)")
_ASKED_FOR_HELP = re.compile(r"[找问]\s?\Z")
_RATIO_AHEAD = re.compile(r"\s?(?:左右)?的?(?:比例|比率|配比|稀释|兑水|勾兑|混合|缩[放小])")
_RATIO_BEHIND = re.compile(r"(?:比例|比率|配比|比例尺)[为是约:：]?\s?\Z")
_TELEPHONE = re.compile(rf"(?:{_TELEPHONE_WORDS}){_FILLER}\Z")
_CODE_WORDS = (
    "密码|口令|验证码|校验码|取件码|提取码|邀请码|兑换码|优惠码|激活码|识别码|识别号|机器码|条码|条形码|编码|代码"
    "|邮编|邮政编码|编号|单号|订单|工号|学号|证号|证件号|身份证|护照|号码|账号|帐号|账户|QQ|qq|微信|群号|群|车牌"
    "|房号|门牌|流水号|批号|文号|区号|番号|端口|频道|卡|ID|id|Id|PIN|pin|序列号|型号|生产日期|末四位|后四位|后三位"
    "|尾数|警号|考号|座位号|户号|股票|基金"
)
_CODE = re.compile(rf"(?:{_CODE_WORDS}){_FILLER}\Z")
_ROOM = re.compile(r"\s?(?:室|房|号房|号病房|号包|包间|包厢|教室|病房|寝室|宿舍|办公室|会议室|医院|错误|页面|报错)")
_BUILDING = re.compile(r"(?:号楼|号院|单元|栋|幢|座)\s?\Z")
_FLIGHT = re.compile(r"(?:航班号?[为是:：]?|[乘搭]坐?)\s?[A-Z]{2}\s?\Z")
_LINE = re.compile(r"\s?(?:路(?!人|费|程)|次(?:列车|航班|动车|高铁|特快|直达)|国道|省道|县道|航班|高速)")
_SCORE = re.compile(
    "比分|战胜|击败|战平|完胜|险胜|小胜|大胜|力克|取胜|获胜|胜出|横扫|逆转|扳平|负于|不敌|惜败|领先|落后|决胜|国足|国羽|国乒|"
    "女排|男篮|女足|主队|客队|赛点|局点|半场|终场|总分|点球|进球|晋级|淘汰|夺冠|平局|打平|战成"
)
_EVENT = re.compile("晚会|大促|活动|购物|程序员|高校|工作制|事件|事变|黄金周|假期|劳动节|儿童节|国庆|抗震|地震|特大")
_STANDARD = re.compile(r"(?<![A-Za-z])(?:GBZ?|ISO|IEC|JGJ|CJJ|YY|HJ|QB|DL|NY|SL|TB)(?:/[A-Z]{1,3})?\s?\Z")
_FIGURE = re.compile(r"(?:图|表|例|题|公式|附录|算法|习题|式)\s?\Z")
_YEAR_ENDINGS = re.compile("年(?!级|轻|货|多|余|来的?历史|的历史)|学年|财年|年度|级|届毕业|款|版")
_SPAN = re.compile("年(?:[前后内间来]|以[前后内来上]|之[前后内久]|的?历史|的?时间|的?光阴|老|期|多|了|如一日)")
_COUNTED = re.compile(r"(?:[近约了达整共满过逾超这第用花需要经隔每后长任刑期]|大概|只有|至少|最多|连续|长达)\s?\Z")
_BORN = re.compile("年(?:出?生|[初底末春夏秋冬]|[的份]|入学|毕业|参军|大学|世界杯|奥运|高考)")
_ERA = re.compile(r"(?:公元前?|西元前?|前)\s?\Z")


def is_telephone(digits: str, before: str, after: str) -> bool:
    """True for a number to dial or to tell over the telephone: after 拨打, 电话, 尾号 and the like, 110 before 报警."""
    if _SHORT_NUMBER.fullmatch(digits) and (_ITS_SERVICE.match(after) or _ASKED_FOR_HELP.search(before)):
        return not is_measured(after)
    return len(digits) >= 3 and not is_measured(after) and _TELEPHONE.search(before) is not None


def is_code(digits: str, before: str, after: str) -> bool:
    """True for a number that names and does not count: a code, a room, longer than a quantity one would say."""
    if len(digits) >= 3 and _ROOM.match(after):
        return True
    named = bool(_CODE.search(before) or (len(digits) < 5 and _BUILDING.search(before)))
    return not is_measured(after) and (len(digits) >= 9 or (len(digits) >= 3 and named))


def is_line(digits: str, before: str, after: str) -> bool:
    """True for a bus line, road, train or flight of three digits and more."""
    is_train = after.startswith("次") and before[-1:].isascii() and before[-1:].isalpha()
    return len(digits) >= 3 and bool(is_train or _LINE.match(after) or _FLIGHT.search(before))


def is_generation(digits: str, before: str, after: str) -> bool:
    """True for two digits of a year without 年: 90后, '98."""
    born = re.match(r"(?:、\d[05])*后(?![来天面续果])", after) and digits[1:] in ("0", "5")
    return len(digits) == 2 and bool(born or before[-1:] in ("'", "’", "‘"))


def is_code_of_parts(before: str, after: str) -> bool:
    """True for two numbers with a hyphen after 房号 and the like, or before 室."""
    return _CODE.search(before) is not None or _ROOM.match(after) is not None


def is_score(before: str, after: str) -> bool:
    """True if the words around are about a match."""
    return _SCORE.search(before) is not None or _SCORE.search(after) is not None


def is_ratio(before: str, after: str) -> bool:
    """True after 比例 and before 的比例, 稀释 and the like, where 1:30 is no time."""
    return _RATIO_AHEAD.match(after) is not None or _RATIO_BEHIND.search(before) is not None


def is_season(after: str) -> bool:
    """True before 赛季, 学年 and the like, which span two years."""
    return re.match(r"\s?(?:赛季|学年|财年|年度|年版)", after) is not None


def is_period(first: str, last: str, before: str, after: str) -> bool:
    """True for two years, the later behind: 二战（1939-1945）, 1914-1918期间."""
    if not (len(first) == len(last) == 4 and 1000 < int(first) < int(last) < 2100):
        return False
    in_brackets = bool(before) and before[-1] in "（(" and after[:1] in tuple("）)，,")
    return in_brackets or re.match("期间|时期|在位|任期", after) is not None


def is_result(after: str) -> bool:
    """True before 平局 and the like, which a score stands before."""
    return re.match(r"\s?(?:平局|平手|战平|大?胜|惜?负|的?比分)", after) is not None


def is_event(after: str) -> bool:
    """True before the name of an event, whose number is a date: 315晚会, 11.11大促."""
    return _EVENT.match(after.lstrip('"”』」')) is not None


def is_duration(before: str) -> bool:
    """True after 用时, 成绩 and the like, where 2:03 is minutes and seconds."""
    return (
        re.search(
            r"(?:成绩|用时|耗时|时长|历时|片长|全长|跑出|游出|配速|[还只仅]剩|剩余|倒计时|补时)[为是了:：\s]{0,2}\Z",
            before,
        )
        is not None
    )


def is_clock(before: str) -> bool:
    """True after a day or 时间, where 00:03:15 is a time of the day and no place in a film."""
    return re.search(r"(?:[日号晨夜午于]|时间|\d)[为是:：T\s]{0,2}\Z", before) is not None


def is_deadline(before: str) -> bool:
    """True after 截至 and the like, where 5/1 is a date."""
    return (
        re.search(r"(?:截至|截止|今天是|明天是|生日|日期|有效期|时间|自|于)[为是到至:：\s]{0,2}\Z", before) is not None
    )


def is_standard(before: str) -> bool:
    """True after GB/T, ISO and the like, where 7714-2015 is a number and a year."""
    return _STANDARD.search(before) is not None


def is_figure(before: str) -> bool:
    """True after 图, 表 and the like, where 2-1 is a number of two parts."""
    return _FIGURE.search(before) is not None


def is_year(digits: str, before: str, after: str) -> bool:
    """True for the number of a year, which is read digit by digit, as against a count of years."""
    after = after.removeprefix(" ")  # 2020 年
    if not _YEAR_ENDINGS.match(after) or "." in digits or "," in digits:
        return False
    if _ERA.search(before) or (len(digits) == 2 and digits[0] == "0"):
        return True
    if len(digits) == 4:
        round_count = digits.endswith("000") and _SPAN.match(after)
        latest = 2200 if after[0] in "年学财" else 2050
        return 1000 < int(digits) < latest and not round_count
    if _COUNTED.search(before) or _SPAN.match(after):
        return False
    if len(digits) == 2:
        return after.startswith("年") and int(digits) >= 50 and (digits[1] != "0" or _BORN.match(after) is not None)
    return len(digits) == 3 and digits[2] != "0"
