# SPDX-License-Identifier: Apache-2.0
"""Join manifests into one, in their order, without reading them: gzip files may follow each other.

usage: python local/join_manifests.py data/fbank/emilia_cuts_EN.jsonl.gz data/fbank/emilia_cuts_EN.*.jsonl.gz
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from zipvoice.files import whole_file


def main(path: str, parts: Sequence[str]) -> None:
    with whole_file(path) as temporary, temporary.open("wb") as joined:
        for part in parts:
            with Path(part).open("rb") as file:
                shutil.copyfileobj(file, joined)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
