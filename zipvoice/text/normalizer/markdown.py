# SPDX-License-Identifier: Apache-2.0
r"""Marks of Markdown, HTML, subtitles and scanned books, which are seen and not heard.

What cannot be meant otherwise is left out by default: `**bold**`, `# Title`, `* * *`, `[text](link)`, a footnote mark
behind a full stop. For files that are known to be Markdown or a book (`everything=True`) also what could be: blocks of
code, footnote marks behind a word, comments. Headings, list items and paragraphs without a mark at their end get one.
"""

import re
from collections.abc import Callable, Iterator

FILLER = "\ufdd0"
"""No character, but a code point that stands for each one left out: positions in the text stay what they were."""


def unmarked(text: str, everything: bool = False) -> str:
    """`text` without such marks, character for character as long as before; the text of links and figures stays.

    >>> unmarked("**Hi** there").replace(FILLER, "")
    'Hi there'
    """
    if not _ANY.search(text):
        return text
    text = _without_blocks(text) if everything else text
    for pattern, replacement in _ALWAYS:
        text = pattern.sub(replacement, text)
    return text


def plain(text: str) -> str:
    r"""A whole Markdown file or book as it is read: without all marks, blocks of code, front matter and comments.

    >>> plain("# Title\n\nSee [this](x.md).\n\n```\nx = 1\n```\n")
    'Title\n\nSee this.\n\n\n'
    """
    text = _without_blocks(
        text.replace("\r\n", "\n")
    )  # first, since blocks span paragraphs, which then keep their ends
    paragraphs = _BLANK_LINES.split(_BLOCK_GONE.sub("\n", text).replace(FILLER, ""))
    return "".join(map(unmarked, paragraphs)).replace(FILLER, "")


def plain_lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Number and text of each line of a Markdown file that has something to read, by itself.

    >>> list(plain_lines("# Title\n\n```\nx = 1\n```\nOne *text*."))
    [(1, 'Title'), (6, 'One text.')]
    """
    text, position = text.replace("\r\n", "\n"), 0
    blocked = _without_blocks(text)
    for number, line in enumerate(text.split("\n"), start=1):
        shown = plain(blocked[position : position + len(line)].replace(FILLER, ""))
        position += len(line) + 1
        if shown.strip(" \t-"):  # --- is a rule, too
            yield number, shown


def _without_blocks(text: str) -> str:
    """`text` without what may span several lines, character for character as long as before."""
    kept, position = [], 0
    for start, end in _blocks(text):
        kept += [text[position:start], FILLER * (end - start)]
        position = end
    text = "".join([*kept, text[position:]])
    for pattern, replacement in _EVERYTHING:
        text = pattern.sub(replacement, text)
    return text


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Where comments and blocks of code between fences begin and end, however long; what has no end is none."""
    position, endless = 0, set[str]()
    while begin := _BLOCK_BEGIN.search(text, position):
        mark, position = begin[1] or "<!--", begin.end()
        if mark in endless:
            continue
        end = re.compile(_block_end(mark), re.M).search(text, position)
        if end is None:
            endless.add(mark)
        else:
            position = end.end()
            yield begin.start(), position


def _block_end(mark: str) -> str:
    return "-->" if mark == "<!--" else rf"^[ \t]{{0,12}}{mark[0]}{{{len(mark)},}}[ \t]*$"


Replacement = Callable[[re.Match[str]], str]


def _gone(found: re.Match[str]) -> str:
    return FILLER * len(found[0])


def _kept(*groups: int) -> Replacement:
    """Everything but the given groups is left out."""

    def replacement(found: re.Match[str]) -> str:
        kept = [i for group in groups for i in range(*found.span(group))]
        shown = frozenset(kept)
        return "".join(c if found.start() + i in shown else FILLER for i, c in enumerate(found[0]))

    return replacement


def _formula(found: re.Match[str]) -> str:
    """$x = 1$ without its marks; prose between two amounts of dollars stays."""
    return found[0] if _PROSE.search(found[1]) else _kept(1)(found)


_PROSE = re.compile(r"(?<![\\a-zA-Z{])[a-z]{3,}\s+[a-z]{2,}")


def _then(mark: str) -> Replacement:
    """The mark in place of the line's end."""
    return lambda found: mark + found[0][1:]


def _cells(found: re.Match[str]) -> str:
    """| a | b | -> a, b."""
    line = found[0]
    if not re.search(r"\w", line):
        return FILLER * len(line)
    inner = line.strip().strip("|").replace("|", ",")
    left = len(line) - len(line.lstrip()) + 1
    return FILLER * left + inner + FILLER * (len(line) - left - len(inner))


def _entity(found: re.Match[str]) -> str:
    return _ENTITIES[found[1]] + FILLER * (len(found[0]) - 1)


_ENTITIES = {"amp": "&", "nbsp": " ", "quot": '"', "#39": "'", "apos": "'", "mdash": "—", "ndash": "–", "hellip": "…"}
_TAGS = "i|b|u|s|em|strong|font|br|p|span|sup|sub|h[1-6]|li|ul|ol|div|code|pre|a|img|small|center|blockquote|hr"

# Every repetition is bounded, so that a text of unpaired marks takes linear time.
_ALWAYS: list[tuple[re.Pattern[str], Replacement]] = [
    (
        re.compile(
            r"^[ \t]{0,8}(?:(?:\*[ \t]{0,3}){3,20}|(?:-[ \t]{0,3}){3,80}|(?:_[ \t]{0,3}){3,80}|={3,80})[ \t]*$", re.M
        ),
        _gone,
    ),
    (re.compile(r"^[ \t]{0,3}(`{3,8}|~{3,8})[ \t]{0,3}[\w+-]{0,20}[ \t]*$", re.M), _gone),
    (re.compile(r"^[ \t]{0,3}\|[^\n]{1,2000}\|[ \t]*$", re.M), _cells),
    (re.compile(r"(?<=[^\W_])(?<!\d)[*_`\"'”’)]{0,3}\n(?=[ \t\r]{0,8}\n)"), lambda m: m[0][:-1] + "."),
    (
        re.compile(r"(?<=^#[ ])[^\n]{1,300}(?<=\w)\n(?=\S)|(?<=^##[ ])[^\n]{1,300}(?<=\w)\n(?=\S)", re.M),
        lambda m: m[0][:-1] + ".",
    ),
    (re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+(?=\S)", re.M), _gone),
    (re.compile(r"^[ \t]{0,12}(?:>[ \t]?){1,4}(?=[^\s\d=>])", re.M), _gone),
    (
        re.compile(
            r"^[ \t]{0,12}[-*+•‣–][ \t]+(?:\[[ xX]\][ \t]+)?"
            r"(?=[^\s\d.$€£=]|\d+[^\d\s=]|[$€£]?\d[\d,.]{0,20} [A-Za-z])",
            re.M,
        ),
        _gone,
    ),
    (re.compile(rf"(?<=[\w)\"'*_`’”])\n(?=[ \t]{{0,12}}(?:{FILLER}{{2}}|\d{{1,3}}[.)][ \t]))"), _then(",")),
    (re.compile(r"(?<=[.?!…] )- (?=[A-Z\"'¿])"), _gone),
    (
        re.compile(
            r"!?(?<![\w\]])\[([^\[\]\n]{1,300})\]\([^()\s]{0,500}(?:\([^()\s]{0,100}\)[^()\s]{0,100})?"
            r"(?: {1,3}\"[^\"\n]{0,200}\")?\)"
        ),
        _kept(1),
    ),
    (re.compile(r"\[\^[\w-]{1,20}\]:?"), _gone),
    (re.compile(r"(?<=[.,;:!?\"'”’)])\[(?:\d{1,3}|[a-z])\](?!\()"), _gone),
    (re.compile(r"\[(?:Pg|Page)\.? ?\d{1,4}\]|(?<![\w}^_\]\\])\{\d{1,4}\}(?!\{)"), _gone),
    (
        re.compile(
            r"\[(?:Illustration|Sidenote|Transcriber['’]s [Nn]ote|Footnote [\dA-Z]{1,3}|Editor['’]s [Nn]ote"
            r"|Greek)(?::([^\[\]]{0,2000}))?\]"
        ),
        _kept(1),
    ),
    (re.compile(r"(?<=\[S\d\])[ ]?:(?=\s)"), _gone),
    (
        re.compile(r"\*\*\*(?=[^\s*])([^*]{1,500}?)(?<=[^\s*])\*\*\*|\*\*(?=[^\s*])([^*]{1,500}?)(?<=[^\s*])\*\*"),
        lambda m: _kept(1 if m[1] else 2)(m),
    ),
    (re.compile(r"(?<![\w_])__(?=[^\s_])([^_]{1,500}?)(?<=[^\s_])__(?!\w)"), _kept(1)),
    (re.compile(r"(?<![\w*\\])\*(?=[^\s*])([^*\n]{1,300}?)(?<=[^\s*])\*(?![\w*])"), _kept(1)),
    (re.compile(r"(?<![\w_\\/])_(?=[^\s_])([^_\n]{1,300}?)(?<=[^\s_])_(?!\w)"), _kept(1)),
    (re.compile(r"\$\$([^$]{1,600})\$\$"), _kept(1)),
    (
        re.compile(r"(?<![\w\\$])\$(?=[^\s$])(?=[^$\n]{0,200}[\\^_={])((?:[^$\n]){1,300}?)(?<=[^\s\\])\$(?![\w$])"),
        _formula,
    ),
    (re.compile(r"~~(?=[^\s~])([^~\n]{1,300}?)(?<=[^\s~])~~"), _kept(1)),
    (re.compile(r"(`{1,3})([^`\n]{1,300})\1"), _kept(2)),
    (re.compile(rf"</(?:{_TAGS})>|<(?:{_TAGS})(?:\s+[a-z-]{{1,20}}=[^<>\n]{{0,300}})?\s?/?>", re.I), _gone),
    (re.compile(r"\{\\[a-zA-Z]{1,6}[^{}\n]{0,60}\}"), _gone),
    (re.compile(rf"&({'|'.join(_ENTITIES)});"), _entity),
    (re.compile(r"\\(?=[*_#`~+!|{}.-](?!\w{4}))"), _gone),
]
_BLOCK_GONE = re.compile(rf"\n[ \t]*\n{FILLER}+\n(?=[ \t]*\n)")
_BLOCK_BEGIN = re.compile(r"<!--|^[ \t]{0,12}(`{3,}|~{3,})[^\n`]*$", re.M)
_BLANK_LINES = re.compile(r"(\n[ \t]*\n\s*)")
_EVERYTHING: list[tuple[re.Pattern[str], Replacement]] = [
    (re.compile(r"\A---\n(?:[^\n]{0,500}\n){0,60}?---$", re.M), _gone),
    (re.compile(r"^[ \t]{0,3}\[[^\]\n]{1,80}\]:[ \t]+\S{1,500}[^\n]{0,200}$", re.M), _gone),
    (re.compile(r"(?<!\])\[([^\[\]\n]{1,300})\]\[[^\[\]\n]{0,80}\]"), _kept(1)),
    (re.compile(r"(?<=[a-z]{2})\[\d{1,3}\](?!\()"), _gone),
]
_ANY = re.compile(r"[*_#`~>|\[{]|\$[^\s$]|\$\$|</?\w|\n\s*\n|^\s*[-+•‣–]\s|[.?!…] - |&[a-z#]|\\", re.M)
