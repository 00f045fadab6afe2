# SPDX-License-Identifier: Apache-2.0
"""What stands beside a number: currencies, magnitudes and units.

To add a unit, add a line to `_UNITS`; to give it the prefixes of the SI (kilo, mega, milli, ...) put it in
`_PREFIXED` instead. The plural is made by rule: the first word before "per", "of" or a name gets it.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Currency:
    """How amounts of a currency are called."""

    one: str
    many: str
    cent: str = ""
    cents: str = ""


def _dollar(country: str) -> Currency:
    return Currency(f"{country} dollar".strip(), f"{country} dollars".strip(), "cent", "cents")


_DOLLAR, _EURO, _YEN = _dollar(""), Currency("euro", "euros", "cent", "cents"), Currency("yen", "yen")
_POUND = Currency("pound", "pounds", "penny", "pence")
_RUPEE = Currency("rupee", "rupees", "paisa", "paise")
_YUAN = Currency("yuan", "yuan")
_KRONE = Currency("krone", "kroner")

SIGNS: dict[str, Currency] = {
    "US$": _dollar("U S"), "A$": _dollar("Australian"), "AU$": _dollar("Australian"), "C$": _dollar("Canadian"),
    "CA$": _dollar("Canadian"), "NZ$": _dollar("New Zealand"), "HK$": _dollar("Hong Kong"),
    "S$": _dollar("Singapore"), "NT$": _dollar("New Taiwan"), "MX$": Currency("Mexican peso", "Mexican pesos"),
    "R$": Currency("real", "reais", "centavo", "centavos"), "Rs.": _RUPEE, "Rs": _RUPEE, "$": _DOLLAR, "£": _POUND,
    "€": _EURO, "¥": _YEN, "₹": _RUPEE, "₩": Currency("won", "won"),
    "₽": Currency("ruble", "rubles", "kopeck", "kopecks"),
    "₺": Currency("lira", "lira"), "₪": Currency("shekel", "shekels"), "₫": Currency("dong", "dong"),
    "₴": Currency("hryvnia", "hryvnias"), "₱": Currency("peso", "pesos"), "₿": Currency("bitcoin", "bitcoins"),
    "¢": Currency("cent", "cents"),
}  # fmt: skip
"""Currencies by the sign before the number."""

CODES: dict[str, Currency] = {
    "USD": _dollar("U S"), "CAD": _dollar("Canadian"), "AUD": _dollar("Australian"), "NZD": _dollar("New Zealand"),
    "HKD": _dollar("Hong Kong"), "SGD": _dollar("Singapore"), "EUR": _EURO, "GBP": _POUND, "JPY": _YEN, "INR": _RUPEE,
    "CNY": _YUAN, "RMB": _YUAN, "CHF": Currency("Swiss franc", "Swiss francs"), "KRW": Currency("won", "won"),
    "SEK": Currency("Swedish krona", "Swedish kronor"), "NOK": Currency("Norwegian krone", "Norwegian kroner"),
    "DKK": Currency("Danish krone", "Danish kroner"), "MXN": Currency("Mexican peso", "Mexican pesos"),
    "BRL": Currency("Brazilian real", "Brazilian reais"), "RUB": Currency("ruble", "rubles"),
    "PLN": Currency("zloty", "zlotys"), "CZK": Currency("Czech koruna", "Czech korunas"),
    "ZAR": Currency("rand", "rand"), "TRY": Currency("lira", "lira"), "BTC": Currency("bitcoin", "bitcoins"),
}  # fmt: skip
"""Currencies by their code, before or after the number."""

AFTER: dict[str, Currency] = {
    "€": _EURO, "$": _DOLLAR, "£": _POUND, "¥": _YEN, "₹": _RUPEE, "₽": SIGNS["₽"], "₩": SIGNS["₩"], "kr": _KRONE,
    "¢": Currency("cent", "cents"), **CODES,
}  # fmt: skip
"""Currencies by what stands after the number."""

MAGNITUDES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million",
    "mn": "million", "MM": "million", "mm": "million", "bn": "billion", "b": "billion", "B": "billion",
    "tn": "trillion", "tr": "trillion", "t": "trillion", "T": "trillion",
}  # fmt: skip
"""Magnitudes of an amount of money."""

_PREFIXES = {
    "n": "nano", "µ": "micro", "m": "milli", "c": "centi", "d": "deci", "k": "kilo", "M": "mega", "G": "giga",
    "T": "tera", "P": "peta",
}  # fmt: skip
_PREFIXED = {
    "g": ("gram", "nµmk"), "m": ("meter", "nµmcdk"), "L": ("liter", "µmcd"), "l": ("liter", "µmcd"),
    "s": ("second", "nµm"), "Hz": ("hertz", "kMGT"), "W": ("watt", "mkMGT"), "Wh": ("watt hour", "kMGT"),
    "V": ("volt", "mµk"), "A": ("amp", "mµk"), "Ah": ("amp hour", "mk"), "J": ("joule", "mkMG"), "N": ("newton", "mk"),
    "Pa": ("pascal", "kMGh"), "eV": ("electronvolt", "mkMGT"), "B": ("byte", "kMGTP"), "bit": ("bit", "kMG"),
    "bps": ("bit per second", "kMGT"), "Bps": ("byte per second", "kMG"), "F": ("farad", "nµm"), "Ω": ("ohm", "mkM"),
    "mol": ("mole", "mµn"), "M": ("molar", "mµn"), "Da": ("dalton", "kM"), "cal": ("calorie", "k"),
    "Sv": ("sievert", "mµ"), "Bq": ("becquerel", "kM"), "T": ("tesla", "m"), "W/m": ("watt per meter", "mk"),
    "pc": ("parsec", "kM"), "bar": ("bar", "m"), "ton": ("ton", "kM"), "px": ("pixel", "M"),
}  # fmt: skip
_PREFIX_ONLY = {"B", "bps", "Bps", "M", "T", "F"}
"""Letters that are units only behind a prefix: 5 MB, but 5 B may be anything."""
_UNITS = {
    "hPa": "hectopascal", "KB": "kilobyte", "KiB": "kibibyte", "MiB": "mebibyte", "GiB": "gibibyte", "TiB": "tebibyte",
    "Kbps": "kilobit per second", "Kb": "kilobit", "Mb": "megabit", "Gb": "gigabit", "kb": "kilobase",
    "mph": "mile per hour", "kph": "kilometer per hour", "kmh": "kilometer per hour", "kmph": "kilometer per hour",
    "rpm": "revolution per minute", "RPM": "revolution per minute", "fps": "frame per second",
    "bpm": "beat per minute", "BPM": "beat per minute", "dpi": "dot per inch", "ppi": "pixel per inch",
    "mpg": "mile per gallon", "psi": "pound per square inch", "ppm": "part per million", "ppb": "part per billion",
    "mmHg": "millimeter of mercury", "wpm": "word per minute", "cfm": "cubic foot per minute",
    "bps": "basis point", "bp": "basis point", "bpts": "basis point", "pp": "percentage point",
    "mi": "mile", "ft": "foot", "yd": "yard", "yds": "yard", "lbs": "pound", "lb": "pound", "oz": "ounce",
    "fl oz": "fluid ounce", "fl. oz": "fluid ounce", "gal": "gallon", "qt": "quart", "pt": "pint", "pts": "point",
    "tbsp": "tablespoon", "Tbsp": "tablespoon", "tbs": "tablespoon", "tsp": "teaspoon", "ml": "milliliter",
    "cc": "cubic centimeter", "sq ft": "square foot", "sq. ft": "square foot", "sqft": "square foot",
    "sq mi": "square mile", "sq. mi": "square mile", "sq m": "square meter", "sq. m": "square meter",
    "sq km": "square kilometer", "sq. km": "square kilometer", "cu ft": "cubic foot", "cu. ft": "cubic foot",
    "kgs": "kilogram", "Kg": "kilogram", "KG": "kilogram", "Kgs": "kilogram", "kms": "kilometer", "KM": "kilometer",
    "Km": "kilometer", "cms": "centimeter", "gms": "gram", "mls": "milliliter", "ft-lb": "foot pound",
    "ft-lbs": "foot pound", "lb-ft": "pound foot",
    "in-lb": "inch pound", "lbf": "pound of force",
    "ha": "hectare", "ac": "acre", "t": "ton", "kt": "knot", "kts": "knot", "nmi": "nautical mile", "hp": "horsepower",
    "h": "hour", "hr": "hour", "hrs": "hour", "min": "minute", "mins": "minute", "sec": "second", "secs": "second",
    "yr": "year", "yrs": "year", "mo": "month", "mos": "month", "wk": "week", "wks": "week", "Myr": "million year",
    "Gyr": "billion year", "ly": "light year", "AU": "astronomical unit", "dB": "decibel", "dBm": "decibel milliwatt",
    "lx": "lux", "lm": "lumen", "nit": "nit", "K": "kelvin", "°C": "degree Celsius", "℃": "degree Celsius",
    "°F": "degree Fahrenheit", "℉": "degree Fahrenheit", "° C": "degree Celsius", "° F": "degree Fahrenheit",
    "ºC": "degree Celsius", "ºF": "degree Fahrenheit", "°N": "degree north", "°S": "degree south",
    "°E": "degree east", "°W": "degree west", "°": "degree", "Å": "angstrom", "IU": "I U",
    "mmol/L": "millimole per liter", "MP": "megapixel",
    "kcal": "kilocalorie", "mcg": "microgram", "gtt": "drop", "Cal": "calorie", "dL": "deciliter", "deg": "degree",
}  # fmt: skip

UNITS: dict[str, str] = {
    **{p + u: _PREFIXES[p] + name for u, (name, prefixes) in _PREFIXED.items() for p in prefixes if p in _PREFIXES},
    **{u: name for u, (name, _) in _PREFIXED.items() if u not in _PREFIX_ONLY},
    **_UNITS,
}
"""What a unit after a number is called."""

PERIODS = {
    "month": "month", "mo": "month", "year": "year", "yr": "year", "week": "week", "wk": "week", "day": "day",
    "d": "day", "hour": "hour", "hr": "hour", "h": "hour", "min": "minute", "minute": "minute", "sec": "second",
    "second": "second", "s": "second", "night": "night", "person": "person", "head": "head", "unit": "unit",
    "item": "item", "user": "user", "seat": "seat", "share": "share", "barrel": "barrel", "bbl": "barrel",
    "ton": "ton", "kg": "kilogram", "g": "gram", "lb": "pound", "oz": "ounce", "L": "liter", "l": "liter",
    "gal": "gallon", "gallon": "gallon", "km": "kilometer", "mile": "mile", "mi": "mile", "ft": "foot",
    "sq ft": "square foot", "m²": "square meter", "m2": "square meter", "m^2": "square meter", "kWh": "kilowatt hour",
    "MWh": "megawatt hour", "GB": "gigabyte", "MB": "megabyte", "capita": "capita", "pound": "pound", "each": "each",
}  # fmt: skip
"""What may stand after the slash of a rate: $5/kg, 3 visits/day."""

_NO_PLURAL = ("hertz", "horsepower", "lux", "I U", "molar", "siemens")
_HEAD = re.compile(r"^(.*?)(?= per | of | squared| cubed| Celsius| Fahrenheit| north| south| east| west|$)")


def plural_unit(name: str) -> str:
    """Mile per hour -> miles per hour; square foot -> square feet; degree Celsius -> degrees Celsius."""
    head = _HEAD.match(name)
    if head is None or name.endswith(_NO_PLURAL):
        return name
    if head[1].endswith(_NO_PLURAL):
        return name
    return _plural(head[1]) + name[head.end() :]


def _plural(noun: str) -> str:
    if noun.endswith("foot"):
        return noun[:-4] + "feet"
    return noun + ("es" if noun.endswith(("ch", "x")) else "s")


def powered(name: str, exponent: str) -> str:
    """Meter and 2 -> square meter; second and 2 -> second squared."""
    which = {"2": ("square", "squared"), "²": ("square", "squared"), "3": ("cubic", "cubed"), "³": ("cubic", "cubed")}
    before, after = which[exponent]
    return f"{before} {name}" if name.endswith(("meter", "foot", "inch", "mile", "yard")) else f"{name} {after}"
