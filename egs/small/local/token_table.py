# SPDX-License-Identifier: Apache-2.0
"""Write the token table of the small models: all phonemes of espeak-ng, so that they can be fine-tuned to any language.

usage: python local/token_table.py data/tokens.txt
"""

import sys

from zipvoice.text.vocabularies import phone_table

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    phone_table().write(sys.argv[1])
