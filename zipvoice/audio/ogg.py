# SPDX-License-Identifier: Apache-2.0
"""Whether an Ogg file is whole (RFC 3533): decoders pass over a damaged page, and what is in it, without a word."""

import zlib

HEADER = 27
"""Bytes of a page before the lengths of its segments."""
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in the other order, in which zlib's sum would read them."""


def check_pages(data: bytes) -> None:
    """Raise ValueError that says where for the first page that is damaged or breaks off; nothing if it is no Ogg file.

    Example:
        >>> check_pages(Path("a.opus").read_bytes())
    """
    at = 0
    while data[at : at + 4] == b"OggS":
        body = at + HEADER + (data[at + 26] if len(data) > at + 26 else 0)
        end = body + sum(data[at + HEADER : body])
        if end > len(data) or len(data) < at + HEADER:
            raise ValueError(f"breaks off after {at} bytes, in a page of Ogg")
        page = data[at : at + 22] + bytes(4) + data[at + 26 : end]
        if _sum(page) != int.from_bytes(data[at + 22 : at + 26], "little"):
            raise ValueError(f"is damaged behind {at} bytes: the sum of a page of Ogg is wrong")
        at = end


def _sum(page: bytes) -> int:
    """The cyclic redundancy check of Ogg: the usual polynomial, highest bits first, from 0."""
    mirrored = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
