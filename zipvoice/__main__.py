# SPDX-License-Identifier: Apache-2.0
"""`python -m zipvoice` is `zipvoice`: the command line, interrupted at any moment without a traceback."""

import os
import sys

from zipvoice.endings import Endings

NOBODY_READS = 141  # 128 + SIGPIPE, as shells report it
CANNOT_WRITE = 1


def main() -> None:
    """Run the command line; an interrupt while it starts or ends is one line and status 130, as in between.

    A program that has read enough of the output, like `head`, ends it without a word. Output that cannot be written,
    such as that of `--help` to a full disk, is one line and status 1.
    """
    _open_closed_streams()
    endings = Endings()
    from zipvoice.cli import main as run

    status = 0
    try:
        with endings:
            status = run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        status = NOBODY_READS
        _drop_output()
    except OSError as error:
        if os.environ.get("ZIPVOICE_DEBUG"):
            raise
        if not status:
            sys.stderr.write(f"zipvoice: standard output: {error.strerror}\n")
        status = status or CANNOT_WRITE
        _drop_output()
    sys.exit(endings.status(status))


def _open_closed_streams() -> None:
    """Open the standard streams that were closed (`>&-`), before another file takes the place of one.

    Input is empty then, output cannot be written, as in other programs, and messages go nowhere.
    """
    for name, flag, mode in (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flag), mode, encoding="utf-8"))


def _drop_output() -> None:
    """Let what Python still holds for standard output when it ends go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
