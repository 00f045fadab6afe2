# SPDX-License-Identifier: Apache-2.0
"""Short forms in words of the language: abbreviations, units, dates and ranges, where espeak-ng spells them.

Of most its voices spell the letters, take the dot for the end of a sentence, or pass over the dash. English has a
reader of its own; numbers are left to the voices.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from zipvoice.text.characters import fold


@dataclass(frozen=True)
class Forms:
    """What a language writes short, and how it is said. A space may stand behind the dots within an abbreviation."""

    months: str
    date: str
    """Of a day, a month and a year."""
    until: str
    """Between the two numbers of a range."""
    anywhere: Mapping[str, str]
    """Abbreviations that nothing else looks like."""
    last: Mapping[str, str]
    """Those that may end a sentence, whose dot is then heard."""
    before_name: Mapping[str, str]
    before_number: Mapping[str, str]
    units: Mapping[str, str | tuple[str, str]]
    """Behind a number: the name, or that of one and that of several."""
    first_day: str = "1"
    """How the first of a month is written."""


_GERMAN = Forms(
    months="Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    date="{day}. {month} {year}",
    until="bis",
    anywhere={
        "z.B.": "zum Beispiel", "d.h.": "das heißt", "bzw.": "beziehungsweise", "ca.": "circa", "inkl.": "inklusive",
        "exkl.": "exklusive", "evtl.": "eventuell", "ggf.": "gegebenenfalls", "vgl.": "vergleiche",
        "sog.": "sogenannte", "u.a.": "unter anderem", "u.U.": "unter Umständen", "i.d.R.": "in der Regel",
        "v.a.": "vor allem", "z.T.": "zum Teil", "o.g.": "oben genannte", "bspw.": "beispielsweise",
        "zzgl.": "zuzüglich", "abzgl.": "abzüglich", "mind.": "mindestens", "max.": "maximal",
        "insb.": "insbesondere", "geb.": "geborene", "n.Chr.": "nach Christus", "v.Chr.": "vor Christus",
        "m.E.": "meines Erachtens", "s.o.": "siehe oben", "s.u.": "siehe unten", "i.A.": "im Auftrag",
        "Tel.": "Telefon", "Mio.": "Millionen", "Mrd.": "Milliarden", "Std.": "Stunden", "Min.": "Minuten",
        "Sek.": "Sekunden", "Jh.": "Jahrhundert",
    },
    last={"usw.": "und so weiter", "etc.": "et cetera", "usf.": "und so fort", "u.Ä.": "und Ähnliches"},
    before_name={"Hrn.": "Herrn", "St.": "Sankt", "Dipl.-Ing.": "Diplomingenieur"},
    before_number={"Nr.": "Nummer", "Str.": "Straße", "S.": "Seite", "Bd.": "Band", "Kap.": "Kapitel",
                   "Abb.": "Abbildung", "Abs.": "Absatz", "Art.": "Artikel", "Tab.": "Tabelle"},
    units={
        "km": "Kilometer", "m": "Meter", "cm": "Zentimeter", "mm": "Millimeter", "km/h": "Kilometer pro Stunde",
        "m/s": "Meter pro Sekunde", "kg": "Kilogramm", "g": "Gramm", "mg": "Milligramm", "t": ("Tonne", "Tonnen"),
        "l": "Liter", "ml": "Milliliter", "m²": "Quadratmeter", "km²": "Quadratkilometer", "m³": "Kubikmeter",
        "ha": "Hektar", "h": ("Stunde", "Stunden"), "min": ("Minute", "Minuten"), "s": ("Sekunde", "Sekunden"),
        "W": "Watt", "kW": "Kilowatt", "kWh": ("Kilowattstunde", "Kilowattstunden"), "V": "Volt", "Hz": "Hertz",
        "kHz": "Kilohertz", "MHz": "Megahertz", "GHz": "Gigahertz", "MB": "Megabyte", "GB": "Gigabyte",
        "TB": "Terabyte",
    },
)  # fmt: skip
_FRENCH = Forms(
    months="janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    date="{day} {month} {year}",
    first_day="1er",
    until="à",
    anywhere={
        "M.et Mme": "monsieur et madame", "p.ex.": "par exemple", "c.-à-d.": "c'est-à-dire",
        "env.": "environ", "av.J.-C.": "avant Jésus-Christ",
        "apr.J.-C.": "après Jésus-Christ", "tél.": "téléphone", "Mme": "madame", "Mmes": "mesdames",
        "Mlle": "mademoiselle",
    },
    last={"etc.": "et cetera"},
    before_name={"M.": "monsieur", "MM.": "messieurs", "Dr": "docteur", "Pr": "professeur",
                 "St": "saint", "Ste": "sainte", "bd": "boulevard", "av.": "avenue"},
    before_number={"p.": "page", "pp.": "pages", "vol.": "volume", "chap.": "chapitre", "art.": "article"},
    units={
        "km": ("kilomètre", "kilomètres"), "m": ("mètre", "mètres"), "cm": ("centimètre", "centimètres"),
        "mm": ("millimètre", "millimètres"), "km/h": "kilomètres heure", "kg": ("kilogramme", "kilogrammes"),
        "g": ("gramme", "grammes"), "mg": ("milligramme", "milligrammes"), "t": ("tonne", "tonnes"),
        "l": ("litre", "litres"), "L": ("litre", "litres"), "ml": ("millilitre", "millilitres"),
        "m²": ("mètre carré", "mètres carrés"), "km²": ("kilomètre carré", "kilomètres carrés"),
        "m³": ("mètre cube", "mètres cubes"), "ha": ("hectare", "hectares"), "min": ("minute", "minutes"),
        "s": ("seconde", "secondes"), "W": ("watt", "watts"), "kW": ("kilowatt", "kilowatts"),
        "kWh": ("kilowattheure", "kilowattheures"), "V": ("volt", "volts"), "Hz": "hertz", "MHz": "mégahertz",
        "GHz": "gigahertz", "Mo": "mégaoctets", "Go": "gigaoctets", "To": "téraoctets",
        "k€": "mille euros", "M€": "millions d'euros", "Md€": "milliards d'euros",
    },
)  # fmt: skip
_SPANISH = Forms(
    months="enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    date="{day} de {month} de {year}",
    until="a",
    anywhere={
        "p.ej.": "por ejemplo", "Ud.": "usted", "Uds.": "ustedes", "Vd.": "usted", "Vds.": "ustedes",
        "tel.": "teléfono", "aprox.": "aproximadamente",
    },
    last={"etc.": "etcétera", "EE.UU.": "Estados Unidos", "EEUU": "Estados Unidos", "a.C.": "antes de Cristo",
          "d.C.": "después de Cristo"},
    before_name={"Sr.": "señor", "Sra.": "señora", "Srta.": "señorita", "Sres.": "señores", "Dr.": "doctor",
                 "Dra.": "doctora", "D.": "don", "Prof.": "profesor", "avda.": "avenida", "Sto.": "santo",
                 "Sta.": "santa"},
    before_number={"pág.": "página", "págs.": "páginas", "núm.": "número", "n.º": "número", "cap.": "capítulo",
                   "art.": "artículo"},
    units={
        "km": ("kilómetro", "kilómetros"), "m": ("metro", "metros"), "cm": ("centímetro", "centímetros"),
        "mm": ("milímetro", "milímetros"), "km/h": "kilómetros por hora", "kg": ("kilogramo", "kilogramos"),
        "g": ("gramo", "gramos"), "mg": ("miligramo", "miligramos"), "t": ("tonelada", "toneladas"),
        "l": ("litro", "litros"), "ml": ("mililitro", "mililitros"), "m²": ("metro cuadrado", "metros cuadrados"),
        "km²": ("kilómetro cuadrado", "kilómetros cuadrados"), "m³": ("metro cúbico", "metros cúbicos"),
        "ha": ("hectárea", "hectáreas"), "h": ("hora", "horas"), "min": ("minuto", "minutos"),
        "s": ("segundo", "segundos"), "W": ("vatio", "vatios"), "kW": ("kilovatio", "kilovatios"),
        "V": ("voltio", "voltios"), "Hz": "hercios", "MHz": "megahercios", "GHz": "gigahercios", "MB": "megabytes",
        "GB": "gigabytes", "TB": "terabytes", "M€": "millones de euros",
    },
)  # fmt: skip
_ITALIAN = Forms(
    months="gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    date="{day} {month} {year}",
    first_day="primo",
    until="a",
    anywhere={"ad es.": "ad esempio", "p.es.": "per esempio", "sig.ra": "signora", "sig.na": "signorina",
              "dott.ssa": "dottoressa", "prof.ssa": "professoressa", "ca.": "circa", "tel.": "telefono"},
    last={"ecc.": "eccetera", "a.C.": "avanti Cristo", "d.C.": "dopo Cristo"},
    before_name={"sig.": "signor", "sigg.": "signori", "dott.": "dottor", "dr.": "dottor", "prof.": "professor",
                 "ing.": "ingegner", "avv.": "avvocato", "S.": "san"},
    before_number={"pag.": "pagina", "pagg.": "pagine", "p.": "pagina", "n.": "numero", "cap.": "capitolo",
                   "art.": "articolo"},
    units={
        "km": ("chilometro", "chilometri"), "m": ("metro", "metri"), "cm": ("centimetro", "centimetri"),
        "mm": ("millimetro", "millimetri"), "km/h": "chilometri all'ora", "kg": ("chilogrammo", "chilogrammi"),
        "g": ("grammo", "grammi"), "mg": ("milligrammo", "milligrammi"), "t": ("tonnellata", "tonnellate"),
        "l": ("litro", "litri"), "ml": ("millilitro", "millilitri"), "m²": ("metro quadrato", "metri quadrati"),
        "mq": ("metro quadrato", "metri quadrati"), "km²": ("chilometro quadrato", "chilometri quadrati"),
        "m³": ("metro cubo", "metri cubi"), "h": ("ora", "ore"), "min": ("minuto", "minuti"),
        "s": ("secondo", "secondi"), "W": "watt", "kW": "chilowatt", "V": "volt", "Hz": "hertz", "MHz": "megahertz",
        "GHz": "gigahertz", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte",
    },
)  # fmt: skip
_PORTUGUESE = Forms(
    months="janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    date="{day} de {month} de {year}",
    until="a",
    anywhere={"p.ex.": "por exemplo", "tel.": "telefone", "aprox.": "aproximadamente"},
    last={"etc.": "etcétera", "a.C.": "antes de Cristo", "d.C.": "depois de Cristo"},
    before_name={"Sr.": "senhor", "Sra.": "senhora", "Srs.": "senhores", "Srta.": "senhorita", "Dr.": "doutor",
                 "Dra.": "doutora", "Prof.": "professor", "Profa.": "professora", "av.": "avenida", "R.": "rua",
                 "Sto.": "santo", "Sta.": "santa"},
    before_number={"pág.": "página", "págs.": "páginas", "p.": "página", "n.º": "número", "nº": "número",
                   "cap.": "capítulo", "art.": "artigo"},
    units={
        "km": ("quilômetro", "quilômetros"), "m": ("metro", "metros"), "cm": ("centímetro", "centímetros"),
        "mm": ("milímetro", "milímetros"), "km/h": "quilômetros por hora", "kg": ("quilograma", "quilogramas"),
        "g": ("grama", "gramas"), "mg": ("miligrama", "miligramas"), "t": ("tonelada", "toneladas"),
        "l": ("litro", "litros"), "ml": ("mililitro", "mililitros"), "m²": ("metro quadrado", "metros quadrados"),
        "km²": ("quilômetro quadrado", "quilômetros quadrados"), "m³": ("metro cúbico", "metros cúbicos"),
        "h": ("hora", "horas"), "min": ("minuto", "minutos"), "s": ("segundo", "segundos"), "W": ("watt", "watts"),
        "kW": ("quilowatt", "quilowatts"), "V": ("volt", "volts"), "Hz": "hertz", "MHz": "megahertz",
        "GHz": "gigahertz", "MB": "megabytes", "GB": "gigabytes", "TB": "terabytes",
    },
)  # fmt: skip
_DUTCH = Forms(
    months="januari februari maart april mei juni juli augustus september oktober november december",
    date="{day} {month} {year}",
    until="tot",
    anywhere={
        "bijv.": "bijvoorbeeld", "bv.": "bijvoorbeeld", "d.w.z.": "dat wil zeggen", "o.a.": "onder andere",
        "m.b.t.": "met betrekking tot", "i.v.m.": "in verband met", "t.o.v.": "ten opzichte van",
        "a.u.b.": "alstublieft", "ca.": "circa", "incl.": "inclusief", "excl.": "exclusief", "evt.": "eventueel",
        "n.a.v.": "naar aanleiding van",
        "tel.": "telefoon", "mln.": "miljoen", "mld.": "miljard",
    },
    last={"enz.": "enzovoort", "etc.": "et cetera", "e.d.": "en dergelijke", "v.Chr.": "voor Christus",
          "n.Chr.": "na Christus"},
    before_name={"dhr.": "de heer", "mevr.": "mevrouw", "mw.": "mevrouw", "dr.": "dokter", "prof.": "professor",
                 "St.": "Sint"},
    before_number={"nr.": "nummer", "nrs.": "nummers", "blz.": "bladzijde", "p.": "pagina", "art.": "artikel"},
    units={
        "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "km/u": "kilometer per uur",
        "km/h": "kilometer per uur", "kg": "kilogram", "g": "gram", "mg": "milligram", "l": "liter",
        "ml": "milliliter", "m²": "vierkante meter", "km²": "vierkante kilometer", "m³": "kubieke meter",
        "ha": "hectare", "u": "uur", "min": ("minuut", "minuten"), "s": ("seconde", "seconden"), "W": "watt",
        "kW": "kilowatt", "V": "volt", "Hz": "hertz", "MHz": "megahertz", "GHz": "gigahertz", "MB": "megabyte",
        "GB": "gigabyte", "TB": "terabyte",
    },
)  # fmt: skip
_FORMS = {
    "de": _GERMAN, "fr": _FRENCH, "es": _SPANISH, "it": _ITALIAN, "pt": _PORTUGUESE, "nl": _DUTCH,
}  # fmt: skip


def in_full(text: str, language: str) -> str:
    """`text` with short forms in words, for German, French, Spanish, Italian, Portuguese and Dutch; else as it is.

    >>> in_full("am 3.10.2024, z. B. 5-10 km", "de")
    'am 3. Oktober 2024, zum Beispiel 5 bis 10 Kilometer'
    """
    code = language.lower().split("-")[0]
    if code not in _FORMS:
        return text
    text = _SQUARED.sub(lambda match: fold(match[0]).translate(_RAISED), text)
    for pattern, said in _rules(code):
        text = pattern.sub(said, text)
    return text


Said = Callable[[re.Match[str]], str]

_SQUARED = re.compile("[\u3380-\u33df]")
"""Signs such as ㎏ and ㎡."""
_RAISED = str.maketrans("23", "²³")
_DAY, _MONTH, _YEAR = r"(?P<day>0?[1-9]|[12]\d|3[01])", r"(?P<month>0?[1-9]|1[0-2])", r"(?P<year>(?:1\d|20)\d\d)"
_DATE = re.compile(rf"(?<![\d./,-]){_DAY}([./-])\s?{_MONTH}\2\s?{_YEAR}(?![\d/-]|[.,]\d)")
_DATE_BY_YEAR = re.compile(rf"(?<![\d./,-]){_YEAR}-{_MONTH}-{_DAY}(?![\d/-]|[.,]\d)")
_DAY_OF_MONTH = re.compile(
    rf"(?P<before>\b(?:[Aa]m|[Vv]om|[Bb]is|[Zz]um|[Dd]en|[Dd]em|[Dd]er|[Aa]b|[Ss]eit)\s){_DAY}\.\s?{_MONTH}\.(?!\d)"
)
_NUMBER = r"(?:[1-9]\d{0,2}(?:[.,]\d{1,3})?|[1-9]\d{3})"
_RANGE = re.compile(rf"(?<![\w.,:/-])({_NUMBER})\s?[-–]\s?({_NUMBER})(?=\s?(?:[%°€]|[^\W\d_])|[,;)]|[.!?]?\s*\Z)")
_STREET = re.compile(r"(?:(?<=[a-zäöüß])str|(?<=[a-zäöüß]-)Str)\.")
_CAPITAL = "[A-ZÀ-Þ]"
_AFTER_NAME = re.compile(rf"{_CAPITAL}[\w.]{{0,30}}\s\Z")
_ONE = re.compile(r"(?<![\d.,])1\s?\Z")
REACH = 40
"""Characters before a form that are looked at."""


@cache
def _rules(code: str) -> list[tuple[re.Pattern[str], Said]]:
    """What is replaced by what, in this order, in the language with this code."""
    forms = _FORMS[code]
    months = forms.months.split()

    def date(match: re.Match[str]) -> str:
        day = forms.first_day if int(match["day"]) == 1 else str(int(match["day"]))
        return forms.date.format(day=day, month=months[int(match["month"]) - 1], year=match["year"])

    def day_of_month(match: re.Match[str]) -> str:
        return f"{match['before']}{int(match['day'])}. {months[int(match['month']) - 1]}{_full_stop(match)}"

    def span(match: re.Match[str]) -> str:
        first, last = (float(number.replace(",", ".")) for number in match.groups())
        is_telephone = (first < 1000) != (last < 1000)
        return f"{match[1]} {forms.until} {match[2]}" if first < last and not is_telephone else match[0]

    def unit(match: re.Match[str]) -> str:
        name = forms.units[match[1]]
        is_one = _ONE.search(match.string, max(0, match.start() - REACH), match.start()) is not None
        return f" {name if isinstance(name, str) else name[not is_one]}"

    return [
        (_DATE, date),
        (_DATE_BY_YEAR, date),
        *([(_DAY_OF_MONTH, day_of_month), (_STREET, _street)] if code == "de" else []),
        (_RANGE, span),
        (re.compile(rf"(?<=\d)\s?({_any_of(forms.units)})(?![\w'’²³/°-]|\.\w)"), unit),
        (_abbreviations(forms.anywhere), lambda match: _words(forms.anywhere, match) + _full_stop(match)),
        (_abbreviations(forms.last), lambda match: _words(forms.last, match) + _full_stop(match, _CAPITAL)),
        (_abbreviations(forms.before_name, rf"\s(?={_CAPITAL})"), lambda match: _title(forms.before_name, match)),
        (
            _abbreviations(forms.before_number, r"\s?(?=\d|[IVX]+\b)"),
            lambda match: _words(forms.before_number, match) + " ",
        ),
    ]


def _any_of(names: Mapping[str, object]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, reverse=True))


def _abbreviations(names: Mapping[str, str], ahead: str = r"(?!\w)") -> re.Pattern[str]:
    """Any of them, a small first letter also as a capital, with what follows."""
    written = "|".join(_written(name) for name in sorted(names, reverse=True))
    return re.compile(rf"(?<![\w.@/-])({written}){ahead}")


def _written(name: str) -> str:
    first = re.escape(name[0]) if not name[0].islower() else f"[{name[0]}{name[0].upper()}]"
    return first + re.escape(name[1:-1]).replace(r"\.", r"\.\s?").replace(r"\ ", r"\s") + re.escape(name[-1])


def _words(names: Mapping[str, str], match: re.Match[str]) -> str:
    written = " ".join(re.sub(r"(?<=\.)\s", "", match[1]).split())
    return names.get(written) or names[written[0].lower() + written[1:]]


def _title(names: Mapping[str, str], match: re.Match[str]) -> str:
    """Don before a name, but the letter within one: John D. Rockefeller."""
    if len(match[1]) == 2 and _AFTER_NAME.search(match.string, max(0, match.start() - REACH), match.start()):
        return match[0]
    return _words(names, match) + " "


def _street(match: re.Match[str]) -> str:
    return f"straße{_full_stop(match)}"


def _full_stop(match: re.Match[str], ahead: str = r"\Z") -> str:
    """The dot of an abbreviation that ends the sentence, too."""
    return "." if match[0].endswith(".") and re.compile(rf"\s*\Z|\s+{ahead}").match(match.string, match.end()) else ""
