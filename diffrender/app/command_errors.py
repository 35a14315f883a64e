"""Errors of the command: each in one line, with its exit status."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from diffrender.errors import DataError, DiffrenderError

# Exit statuses. After Ctrl-C shells expect 128 + SIGINT, after `kill` 128 + SIGTERM; 70 is EX_SOFTWARE of sysexits.h.
# FAILED: by verdict.
INTERRUPTED = 130
TERMINATED = 143
STOPPED = 1
FAILED = 3
UNEXPECTED = 70

# No space, no more of it for this user or process, and a disk that has become read-only.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Report errors in one line and exit; the traceback of an error that is not ours goes into a file."""
    try:
        _check_working_folder()
        yield
    except DiffrenderError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(STOPPED) from None
    except KeyboardInterrupt:
        typer.echo("interrupted: the results are incomplete", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except Exception as error:
        remedy = _remedy_of(error)
        if remedy:
            typer.echo(f"error: {remedy}", err=True)
            raise typer.Exit(STOPPED) from None
        reason = next(iter(str(error).splitlines()), "")
        what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        typer.echo(f"error: unexpected {what}; please report it with {_save_traceback()}", err=True)
        raise typer.Exit(UNEXPECTED) from None


def _remedy_of(error: Exception) -> str | None:
    """Say what helps against an error of the machine, a full disk or a package that is missing; None for others."""
    if isinstance(error, OSError) and error.errno in FULL:  # results name their file; this is something beside them
        return (
            f"{error.strerror}, for compiled kernels, temporary files or what this command prints; free some space, or"
            " name a folder that has some by NUMBA_CACHE_DIR or TMPDIR"
        )
    package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if package in ("", "diffrender"):
        return None
    cause = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
    return f"the package {package} {cause}; `pip install .` in diffrender's folder installs all that it needs"


def _check_working_folder() -> None:
    """Raise DataError if the working folder was deleted: no path from it means anything, and libraries look it up."""
    try:
        os.getcwd()
    except OSError as error:
        raise DataError(f"the working folder cannot be found ({error.strerror}); cd into one that exists") from None


def _save_traceback() -> str:
    """Write the traceback of the error that is being handled to a temporary file, and return its path."""
    try:
        handle, path = tempfile.mkstemp(prefix="diffrender_error_", suffix=".txt")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{' '.join(sys.argv)}\n{traceback.format_exc()}")
        return path
    except OSError:
        return f"this traceback:\n{traceback.format_exc()}"


def run_command(command: Callable[[], object]) -> None:
    """Run a command as the whole program: consoles show any character, and SIGTERM ends it as Ctrl-C does.

    So what batch systems and containers stop still writes its results. Once the command has ended, Ctrl-C does not
    interrupt what libraries do at the end.
    """
    show_any_character()
    terminated = False

    def on_termination(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):  # as in the background of a shell
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, on_termination)
    try:
        command()
    except SystemExit as end:
        raise SystemExit(TERMINATED if terminated and end.code == INTERRUPTED else end.code) from None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def show_any_character() -> None:
    """Let the console show `?` for characters that its encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
