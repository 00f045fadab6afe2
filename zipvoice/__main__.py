# SPDX-License-Identifier: Apache-2.0
"""`python -m zipvoice` is `zipvoice`: the command line, interrupted at any moment without a traceback."""

import os
import signal
import sys
from types import FrameType

NOBODY_READS = 141  # 128 + SIGPIPE, as shells report it


def main() -> None:
    """Run the command line; an interrupt while it starts or ends is one line and status 130, as in between.

    A program that has read enough of the output, like `head`, ends it without a word.
    """
    usual = signal.getsignal(signal.SIGINT)
    is_heard = usual is not signal.SIG_IGN  # as of programs that a script starts in the background
    if is_heard:
        signal.signal(signal.SIGINT, _end)
    from zipvoice.cli import main as run

    signal.signal(signal.SIGINT, usual)
    try:
        status = run()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python puts the rest when it ends
        status = NOBODY_READS
    finally:
        if is_heard:
            signal.signal(signal.SIGINT, _end)
    sys.exit(status)


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: no library has begun anything that would have to be finished."""
    sys.stderr.write("interrupted\n")
    sys.stderr.flush()
    os._exit(128 + number)


if __name__ == "__main__":
    main()
