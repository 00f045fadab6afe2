# SPDX-License-Identifier: Apache-2.0
"""Signals that end the command line: what is half-written is taken away, and nothing hides them."""

import os
import signal
import sys
from types import FrameType, TracebackType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Training and the server have handlers of their own for them."""
REMINDER_SECONDS = 0.1
CAN_REMIND = hasattr(signal, "setitimer")  # not on Windows


class Endings:
    """Context in which a signal ends the program by KeyboardInterrupt or SystemExit; outside of it, at once.

    The exception is not raised inside an import: extension modules that it passes through may hide it, make an
    ImportError of it, or crash. It comes when the import is done, and again where something hid it all
    the same, as callbacks of C libraries do. A second signal ends the program at once.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._is_inside = False
        usual = {number: signal.getsignal(number) for number in SIGNALS}
        defaults = (signal.SIG_DFL, signal.default_int_handler)  # others: ignored, as by nohup or a script's `&`
        self._numbers = [number for number in SIGNALS if usual[number] in defaults]
        for number in self._numbers:
            signal.signal(number, self._hear)

    def __enter__(self) -> None:
        self._is_inside = True
        if CAN_REMIND:
            signal.signal(signal.SIGALRM, self._remind)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_inside = False
        if CAN_REMIND:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def status(self, status: int) -> int:
        """The exit status of the program: that of a signal that came, whatever was made of its exception."""
        if self._number is None:
            return status
        if self._number == signal.SIGINT and status != 128 + signal.SIGINT:
            _tell()
        return 128 + self._number

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None or not self._is_inside:
            if number == signal.SIGINT:
                _tell()
            os._exit(128 + number)
        self._number = number
        if CAN_REMIND:
            signal.setitimer(signal.ITIMER_REAL, REMINDER_SECONDS, REMINDER_SECONDS)
        self._remind(number, frame)

    def _remind(self, number: int, frame: FrameType | None) -> None:
        """Raise what the signal raises, unless it is on its way already."""
        if self._is_inside and not _is_leaving() and not (CAN_REMIND and _is_importing(frame)):
            raise KeyboardInterrupt if self._number == signal.SIGINT else SystemExit(128 + (self._number or 0))


def _tell() -> None:
    sys.stderr.write("interrupted\n")
    sys.stderr.flush()


def _is_importing(frame: FrameType | None) -> bool:
    """Whether this code runs because a module is being imported."""
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _is_leaving() -> bool:
    """Whether what the signal raised is on its way out, through blocks that clean up."""
    error = sys.exc_info()[1]
    while error and not isinstance(error, KeyboardInterrupt | SystemExit):
        error = error.__context__
    return error is not None
