"""Errors of the command: each in one line, with its exit status."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from diffrender.errors import DataError, DiffrenderError

# Exit statuses. After Ctrl-C shells expect 128 + SIGINT; 70 is EX_SOFTWARE of sysexits.h. FAILED: by verdict.
INTERRUPTED = 130
STOPPED = 1
FAILED = 3
UNEXPECTED = 70


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
        reason = next(iter(str(error).splitlines()), "")
        what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        typer.echo(f"error: unexpected {what}; please report it with {_save_traceback()}", err=True)
        raise typer.Exit(UNEXPECTED) from None


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


def show_any_character() -> None:
    """Let the console show `?` for characters that its encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
