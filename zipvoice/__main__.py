# SPDX-License-Identifier: Apache-2.0
"""`python -m zipvoice` is `zipvoice`."""

import sys

from zipvoice.cli import main

sys.exit(main())
