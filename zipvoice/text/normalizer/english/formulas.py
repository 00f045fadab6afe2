# SPDX-License-Identifier: Apache-2.0
r"""Formulas: chemical ones letter by letter, and the commands of LaTeX that chat models write.

A command is replaced where it stands, so that what its braces hold is read by the other rules: `\frac{a}{b}` is *a over
b*, `\sqrt{x}` the square root of x.
"""

import re

from zipvoice.text.normalizer.english.numbers import cardinal
from zipvoice.text.normalizer.english.saying import fraction
from zipvoice.text.normalizer.reading import Said

# ---------------------------------------------------------------- chemistry

_ELEMENTS = (
    "Ac|Ag|Al|Am|Ar|As|At|Au|Ba|Be|Bi|Bk|Br|Ca|Cd|Ce|Cf|Cl|Cm|Co|Cr|Cs|Cu|Dy|Er|Es|Eu|Fe|Fm|Fr|Ga|Gd|Ge|He|Hf|Hg|Ho|In"
    "|Ir|Kr|La|Li|Lu|Mg|Mn|Mo|Na|Nb|Nd|Ne|Ni|Np|Os|Pa|Pb|Pd|Pm|Po|Pr|Pt|Pu|Ra|Rb|Re|Rh|Rn|Ru|Sb|Sc|Se|Si|Sm|Sn|Sr|Ta|Tb"
    "|Tc|Te|Th|Ti|Tl|Tm|Xe|Yb|Zn|Zr|B|C|F|H|I|K|N|O|P|S|U|V|W|Y"
)
ATOMS = rf"(?:{_ELEMENTS})(?:[1-9]\d?)?"
_FORMULA = re.compile(rf"(?:{ATOMS}|\((?:{ATOMS}){{1,4}}\)(?:[1-9]\d?)?){{2,12}}(?![\w'-])")
PARTS = re.compile(r"[A-Za-z]|\d+")
_NO_FORMULAS = frozenset(("NaN", "PoC", "PoS", "CoC", "NoC", "CoS", "CoP", "CoV", "NoHo", "SoHo", "BiP", "PaC"))


def chemical(text: str, start: int) -> Said | None:
    """NaOH, H2SO4, Ca(OH)2: element by element, as chemists spell them."""
    found = _FORMULA.match(text, start)
    if not found:
        return None
    written = found[0]
    letters = "".join(c for c in written if c.isalpha())
    has_digit, has_small = any(map(str.isdigit, written)), not letters.isupper()
    is_plural = letters[-1] == "s" and letters[:-1].isupper()
    if not (has_digit or has_small) or is_plural or written in _NO_FORMULAS or (not has_small and len(letters) > 4):
        return None
    words = (part.upper() if part.isalpha() else cardinal(part) for part in PARTS.findall(written))
    return Said(found.end(), " ".join(words), "formula")


# ---------------------------------------------------------------- LaTeX

_COMMANDS = {
    "times": "times", "cdot": "times", "div": "divided by", "pm": "plus or minus", "mp": "minus or plus",
    "le": "less than or equal to", "leq": "less than or equal to", "lt": "less than", "gt": "greater than",
    "ge": "greater than or equal to", "geq": "greater than or equal to", "ne": "is not equal to",
    "neq": "is not equal to", "approx": "is about", "equiv": "is equivalent to", "sim": "is similar to",
    "propto": "is proportional to", "to": "to", "rightarrow": "to", "Rightarrow": "implies", "implies": "implies",
    "iff": "if and only if", "infty": "infinity", "partial": "partial", "nabla": "nabla", "in": "in",
    "subset": "is a subset of", "cup": "union", "cap": "intersection", "forall": "for all", "exists": "there exists",
    "therefore": "therefore", "ldots": ",", "dots": ",", "cdots": ",", "log": "log", "ln": "L N", "sin": "sine",
    "cos": "cosine", "tan": "tangent", "lim": "limit", "max": "max", "min": "min", "exp": "exp", "circ": "degrees",
    "sum": "sum of", "prod": "product of", "int": "integral of", "sqrt": "square root of", "frac": "", "dfrac": "",
    "tfrac": "", "hbar": "H bar", "ell": "L", "boxed": "", "mod": "mod",
} | dict.fromkeys((
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi",
    "Pi", "Sigma", "Phi", "Psi", "Omega", "varepsilon", "varphi",
)) | dict.fromkeys((
    "quad", "qquad", "left", "right", "big", "Big", "text", "mathrm", "mathbf", "mathbb", "mathcal", "operatorname",
    "textbf", "textit", "emph", "displaystyle", "bar", "hat", "vec", "limits",
), "")  # fmt: skip
_COMMAND = re.compile(r"\\([a-zA-Z]{2,12})(?![a-zA-Z])")
_FRACTION = re.compile(r"\\[dt]?frac(?:\{(\d{1,6})\}\{(\d{1,6})\}|(\d)(\d))")
_BOUNDS = re.compile(r"\\(sum|prod|int|lim)_(?:\{([^{}]{1,24})\}|(\w))(?:\^(?:\{([^{}]{1,24})\}|(\\infty|\w)))?")
_ROOT = re.compile(r"\\sqrt(?:\[(\d)\])?(?=[\s{\d\w])")
_IN_BOUNDS = {"=": " equals ", "\\infty": "infinity", "\\to": " to ", "\\rightarrow": " to ", "+": " plus ",
              "-": " minus "}  # fmt: skip
_BOUND_PART = re.compile(r"\\[a-z]+|[=+-]|\d+")


def latex(text: str, start: int) -> Said | None:
    r"""A command of LaTeX: \frac{1}{2}, \sqrt{x}, \sum_{i=1}^{n}, \leq, \alpha."""
    if found := _FRACTION.match(text, start):
        above, below = (number for number in found.groups() if number)
        return Said(found.end(), f" {fraction(above, below)} ", "formula")
    if found := _BOUNDS.match(text, start):
        name = {"sum": "sum from", "prod": "product from", "int": "integral from", "lim": "limit as"}[found[1]]
        last = f" to {_bound(found[4] or found[5])}" if found[4] or found[5] else ""
        return Said(found.end(), f" {name} {_bound(found[2] or found[3])}{last} of ", "formula")
    if found := _ROOT.match(text, start):
        return Said(found.end(), " cube root of " if found[1] == "3" else " square root of ", "formula")
    found = _COMMAND.match(text, start)
    if not found or found[1] not in _COMMANDS:
        return None
    known = _COMMANDS[found[1]]
    words = found[1].removeprefix("var").lower() if known is None else known
    return Said(found.end(), f" {words} " if words else " ", "formula")


def _bound(written: str) -> str:
    return _BOUND_PART.sub(
        lambda m: _IN_BOUNDS.get(m[0]) or (cardinal(m[0]) if m[0].isdigit() else f" {m[0][1:]} "), written
    ).strip()
