# SPDX-License-Identifier: Apache-2.0
"""What becomes of a text: for people who wonder why something is spoken the way it is."""

from dataclasses import asdict, dataclass
from typing import Any

from zipvoice.text.g2p.signs import in_words
from zipvoice.text.markup import pause_seconds
from zipvoice.text.normalizer import chinese
from zipvoice.text.normalizer.english import reader as english
from zipvoice.text.token_table import TokenTable, is_silent
from zipvoice.text.tokenizers import MarkupTokenizer, Piece


@dataclass(frozen=True)
class Inspection:
    """The stages of one text on its way to a model."""

    text: str
    """What the user wrote."""
    pieces: tuple[Piece, ...]
    """Stretches of one language, and marks, with the text as spoken and the tokens."""
    ids: tuple[int | None, ...] | None
    """Id of each token, None for unknown ones and pauses; None as a whole without a token table."""
    unknown: tuple[str, ...]
    """Tokens that the table lacks, each once."""

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(token for piece in self.pieces for token in piece.tokens)

    @property
    def normalized(self) -> str:
        """The whole text as spoken."""
        return "".join(in_words(piece.text, piece.kind) for piece in self.pieces)


def inspect_text(text: str, tokenizer: MarkupTokenizer, table: TokenTable | None = None) -> Inspection:
    """Follow `text` through the tokenizer and, if given, the token table. Raises ValueError as the tokenizer does."""
    pieces = tuple(tokenizer.pieces(text))
    tokens = [token for piece in pieces for token in piece.tokens]
    if table is None:
        return Inspection(text, pieces, None, ())
    ids = tuple(table.ids([token])[0] if token in table else None for token in tokens)
    unknown = tuple(t for t in table.unknown(tokens) if pause_seconds(t) is None and not is_silent(t))
    return Inspection(text, pieces, ids, unknown)


@dataclass(frozen=True)
class Explanation:
    """Why a stretch of the text is not read as it is written."""

    rule: str
    """The rule that read it."""
    written: str
    spoken: str


def explanations(piece: Piece) -> list[Explanation]:
    """What the rules of the piece's language read, in order; nothing for marks and for text without rules."""
    readings = (chinese.readings if piece.kind == "zh" else english.readings)(piece.written)
    return [Explanation(r.rule, piece.written[r.start : r.end], r.words.strip()) for r in readings]


def render(inspection: Inspection, explain: bool = False) -> str:
    """An inspection as text for a terminal, unknown tokens between `>` and `<`, spaces as `␣`.

    With `explain` also each rule that read something, what was written, and what is said.
    """
    lines = [f"text    {inspection.text}", f"spoken  {inspection.normalized}"]
    width = max((len(piece.kind) for piece in inspection.pieces), default=0)
    for piece in inspection.pieces:
        lines.append(f"{piece.kind:<{width}}  {in_words(piece.text, piece.kind).strip()}")
        if explain:
            lines += [f"{'':<{width}}  {e.rule}: {e.written!r} -> {e.spoken!r}" for e in explanations(piece)]
        lines.append(f"{'':<{width}}  {' '.join(_shown(token, inspection.unknown) for token in piece.tokens)}")
    if inspection.ids is not None:
        lines.append("ids     " + " ".join("-" if i is None else str(i) for i in inspection.ids))
        if inspection.unknown:
            lines.append("unknown " + " ".join(inspection.unknown))
    return "\n".join(lines)


def to_json(inspection: Inspection) -> dict[str, Any]:
    """An inspection as dictionaries, lists and scalars."""
    return {
        "text": inspection.text,
        "normalized": inspection.normalized,
        "pieces": [
            {
                "kind": piece.kind,
                "text": in_words(piece.text, piece.kind),
                "start": piece.start,
                "tokens": list(piece.tokens),
                "rules": [asdict(explanation) for explanation in explanations(piece)],
            }
            for piece in inspection.pieces
        ],
        "tokens": list(inspection.tokens),
        "ids": None if inspection.ids is None else list(inspection.ids),
        "unknown": list(inspection.unknown),
    }


def _shown(token: str, unknown: tuple[str, ...]) -> str:
    visible = "␣" if token == " " else token
    return f">{visible}<" if token in unknown else visible
