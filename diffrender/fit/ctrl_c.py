"""Ctrl-C during a fit: heeded between steps, where no library can swallow it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class CtrlC:
    """Whether Ctrl-C has been pressed."""

    pressed = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note the first; raise KeyboardInterrupt at once at the second."""
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if it has been pressed."""
        if self.pressed:
            raise KeyboardInterrupt


@contextmanager
def deferred_ctrl_c() -> Iterator[CtrlC]:
    """Note Ctrl-C instead of raising KeyboardInterrupt anywhere, for example inside a compiled kernel's callback.

    Only in the main thread, and unless the program handles or ignores SIGINT itself.
    """
    noted = CtrlC()
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield noted
        return
    signal.signal(signal.SIGINT, noted.on_signal)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
