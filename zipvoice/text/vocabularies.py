# SPDX-License-Identifier: Apache-2.0
"""Token tables made from nothing but the code or a corpus: phonemes, phonemes and pinyin, characters."""

from collections import Counter
from collections.abc import Iterable, Sequence

from zipvoice.text.g2p.syllables import PINYIN_TOKENS
from zipvoice.text.markup import pause_seconds
from zipvoice.text.token_table import PAD, TokenTable

ESPEAK_SYMBOLS = (
    "_^$ !'(),-.:;?abcdefhijklmnopqrstuvwxyzæçðøħŋœǀǁǂǃɐɑɒɓɔɕɖɗɘəɚɛɜɞɟɠɡɢɣɤɥɦɧɨɪɫɬɭɮɯɰɱɲɳɴɵɶɸɹɺɻɽɾʀʁʂʃʄʈʉʊʋʌʍʎʏʐʑʒʔʕʘ"
    'ʙʛʜʝʟʡʢʲˈˌːˑ˞βθχᵻⱱ0123456789\u0327\u0303\u032a\u032f\u0329ʰˤε↓#"↑\u033a\u033bgʦX\u031d\u030a'
)
"""The 159 phoneme symbols of the released models in the order of their ids."""


def phone_table() -> TokenTable:
    """Phonemes of espeak-ng, for all its languages: the first 159 tokens of the released models."""
    return TokenTable(tuple(ESPEAK_SYMBOLS))


def emilia_table() -> TokenTable:
    """Phonemes and pinyin: the 360 tokens of the released single-speaker models.

    The same on every machine; the reference takes the phonemes from the installed phonemizer, of which an older version
    has two fewer and shifts every pinyin id.
    """
    return TokenTable((*ESPEAK_SYMBOLS, *PINYIN_TOKENS))


def corpus_table(corpus: Iterable[Sequence[str]]) -> TokenTable:
    """The tokens of a corpus, one sequence of tokens for each utterance: padding, then by descending frequency.

    Ties are broken by code point, so the table depends on the corpus alone. Count what the tokenizer gives, not the raw
    text, so that no token is missing or idle. Raises ValueError for an empty corpus and for pauses, which are for
    synthesis and have no token.
    """
    counts = Counter(token for tokens in corpus for token in tokens)
    counts.pop(PAD, None)
    if not counts:
        raise ValueError("the corpus has no tokens")
    pauses = [token for token in counts if pause_seconds(token) is not None]
    if pauses:
        raise ValueError(f"{pauses[0]} in the corpus: pauses are for synthesis; training text cannot have them")
    return TokenTable((PAD, *sorted(counts, key=lambda token: (-counts[token], token))))
