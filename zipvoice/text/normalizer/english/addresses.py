# SPDX-License-Identifier: Apache-2.0
"""Web and mail addresses, file names and paths, with their marks by name."""

import re

from zipvoice.text.normalizer.english.codes import in_pairs, name
from zipvoice.text.normalizer.reading import Said

MARK_NAMES = {
    ".": "dot", "/": "slash", ":": "colon", "@": "at", "-": "dash", "_": "underscore", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "!": "exclamation mark",
    "*": "asterisk", ",": "comma", ";": "semicolon", "\\": "backslash", "$": "dollar", "|": "bar",
}  # fmt: skip


def address(text: str, start: int) -> Said | None:
    """https://a.org/b -> https colon slash slash a dot org slash b; closing punctuation is the sentence's."""
    if host := _HOST.match(text, start):
        return Said(host.end(), f"{by_name(host[1])} colon {in_pairs(host[2])} {by_name(host[3])}".strip(), "address")
    for pattern in _ADDRESSES:
        if found := pattern.match(text, start):
            written = found[0].rstrip(".,;:!?'\")]")
            return Said(start + len(written), by_name(written), "address")
    return None


def path(text: str, start: int) -> Said | None:
    r"""/usr/bin/env, ~/.bashrc, C:\Users\me."""
    found = _PATH.match(text, start)
    return Said(found.end(), by_name(found[0]), "path") if found else None


def file_name(text: str, start: int) -> Said | None:
    """README.md, main.py, node.js."""
    found = _FILE.match(text, start)
    return Said(found.end(), by_name(found[0]), "file") if found else None


_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def by_name(written: str) -> str:
    """Words with the marks between them by name, numbers as numbers."""
    words = _MARK.sub(lambda m: f" {MARK_NAMES.get(m[0], m[0])} ", written.translate(_RAISED))
    return " ".join(_DIGITS.sub(lambda m: f" {in_pairs(m[0]) if len(m[0]) == 3 else name(m[0])} ", words).split())


_MARK = re.compile(r"[^\w']|_")
_DIGITS = re.compile(r"\d+")
_TOP = "com|org|net|edu|gov|io|ai|dev|app|info|uk|cn|co|us|eu|tv|me|fm|ly|gg|xyz|tech|blog|de|fr|jp|ca|au|in|it|es"
_SAFE_TOP = "com|org|net|edu|gov|io|ai|dev|app|info|uk|cn|eu|tv|xyz|ly|gg|tech"
_ADDRESSES = (
    re.compile(r"(?:(?:https?|ftp|ssh|git|file)://|www\.)[^\s<>\"]+"),
    re.compile(r"(?a)[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"),
    re.compile(
        rf"(?a)(?:[a-zA-Z0-9-]{{1,63}}\.){{1,8}}(?:{_SAFE_TOP})(?![\w-]|\.\w)(?:/[^\s<>\"]*)?"
        rf"|(?:[a-zA-Z0-9-]{{1,63}}\.){{1,8}}(?:{_TOP})/[^\s<>\"]*"
    ),
)
_HOST = re.compile(
    rf"(?a)(localhost|\d{{1,3}}(?:\.\d{{1,3}}){{3}}|(?:[a-zA-Z0-9-]{{1,63}}\.){{1,8}}(?:{_TOP})):(\d{{2,5}})(?![\d:]|\.\d)"
    r"((?:/[\w.@+-]{0,80}){0,20}(?<![.]))"
)
_PATH = re.compile(
    r"~?(?:/[\w.@+-]{1,80}){2,40}/?(?<![.])|~/[\w.@+/-]{1,200}(?<!\.)|[A-Za-z]:\\[\w.\\-]{1,200}(?<!\.)|\.{1,2}/[\w./-]{1,200}(?<!\.)"
)
_FILE = re.compile(
    r"[\w-]{1,60}(?:\.[\w-]{1,60}){0,3}\.(?:py|js|ts|jsx|tsx|md|txt|json|yaml|yml|toml|ini|cfg|csv|tsv|xml|html?|css|sh|bat|exe|dll|so"
    r"|zip|tar|gz|pdf|docx?|xlsx?|pptx?|png|jpe?g|gif|svg|wav|mp3|mp4|flac|ogg|avi|mkv|cpp|hpp|c|h|rs|go|rb|java|kt"
    r"|swift|php|sql|log|bak|onnx|pt|safetensors|ipynb|lock)(?![\w-]|\.\w)"
)
