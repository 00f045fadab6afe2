# SPDX-License-Identifier: Apache-2.0
"""One thread for tests, and for the programs they start.

The models are so small that several threads mostly wait for each other, and on a busy machine they do so for minutes.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
