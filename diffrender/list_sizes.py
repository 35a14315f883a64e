"""How long lists are whose length follows from the data: as long as they need, or as long as they were given.

A kernel that fills such a list counts first. The host that wants to know the count waits for the device, several times
an image, and what it launches cannot be recorded. Within `ListSizes` lists are made as long as they were in an earlier
image, and some more; what is then left of them is filled so that it changes nothing, and whether any was too short is
told by the device, once for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor

from diffrender.errors import DiffrenderError

T = TypeVar("T")

# By how much longer than needed lists are made, and the least by which: what is seen changes from step to step. Long
# lists are those of all that is seen, which changes little and takes time.
SPARE, LONG_SPARE, LONG = 1.5, 1.2, 500_000
LEAST_SPARE = 1024


class SizesError(DiffrenderError):
    """What is computed cannot do without asking the device for the lengths of lists."""


class ListSizes:
    """The lengths of the lists of one image, or of whatever is computed alike again and again, in the order of use.

        sizes = ListSizes()
        with sizes.found():                             # once: as long as needed
            image = render(...)
        with sizes.kept():                              # as often as one likes: no list's length is asked for
            image = render(...)
        if bool(sizes.overflow): ...                    # some list was too short: `found` again

    overflow: [] bool on the device: whether what was last computed is wrong, because a list was too short or had
        nothing in it that could be repeated.
    """

    def __init__(self) -> None:
        self.overflow: Tensor | None = None
        self._lengths: list[int] = []
        self._limits: Tensor | None = None
        self._counts: list[Tensor] = []
        self._held: list[Any] = []
        self._wrong: list[Tensor] = []
        self._next = 0
        self.is_kept = False

    @property
    def are_known(self) -> bool:
        """Whether lengths were found."""
        return self._limits is not None

    @contextmanager
    def found(self) -> Iterator[None]:
        """Make lists as long as they need to be, and longer ones from now on where they were shorter before."""
        self.is_kept, self._counts, self._wrong, self._held = False, [], [], []
        with _set(self):
            yield
        found = torch.cat(self._counts) if self._counts else None
        room = [] if found is None else [_with_spare(length) for length in found.tolist()]
        alike = len(room) == len(self._lengths)
        self._lengths = [max(pair) for pair in zip(room, self._lengths, strict=True)] if alike else room
        self._limits = torch.zeros(0, device="cpu") if found is None else found.new_tensor(self._lengths)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Make lists as long as `found` says."""
        self.is_kept, self._next, self._counts, self._wrong, self.overflow = True, 0, [], [], None
        self._held = [self._limits]
        with _set(self):
            yield
        if self._next != len(self._lengths):
            raise SizesError("ListSizes: there are fewer lists than were found; find their sizes again")
        if self._counts:
            self._wrong.append((torch.cat(self._counts) > self._limits).any())
        self.overflow = torch.stack(self._wrong).any() if self._wrong else None

    def lengths_of(self, counts: Tensor, most: int | None) -> list[int]:
        """See list_lengths."""
        self._counts.append(counts.long())
        if not self.is_kept:
            return counts.tolist()
        lengths = self._lengths[self._next : self._next + len(counts)]
        if len(lengths) < len(counts):
            raise SizesError("ListSizes: there are more lists than were found; find their sizes again")
        self._next += len(counts)
        return lengths if most is None else [min(length, most) for length in lengths]

    @property
    def held(self) -> list[Any]:
        """What was used within the last `kept` and belongs to caches, which may let go of it."""
        return self._held

    def hold(self, thing: Any) -> None:
        """Keep a thing while `kept` is what was computed last."""
        self._held.append(thing)

    def tell(self, is_wrong: Tensor) -> None:
        """Note on the device that what is computed is wrong, if it is."""
        self._wrong.append(is_wrong)


_ACTIVE: ContextVar[ListSizes | None] = ContextVar("sizes", default=None)


@contextmanager
def _set(sizes: ListSizes) -> Iterator[None]:
    token = _ACTIVE.set(sizes)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def has_sizes() -> bool:
    """Return whether lists have sizes: within `ListSizes`, where what is computed takes the same lists each time."""
    return _ACTIVE.get() is not None


def is_kept() -> bool:
    """Return whether the host must not ask the device for anything: within `ListSizes.kept`."""
    sizes = _ACTIVE.get()
    return sizes is not None and sizes.is_kept


def hold(thing: T) -> T:
    """Return a thing out of a cache; what is recorded within `ListSizes` may need it for longer than the cache."""
    sizes = _ACTIVE.get()
    if sizes is not None:
        sizes.hold(thing)
    return thing


def list_lengths(counts: Tensor, most: int | None = None) -> list[int]:
    """Return how long to make lists with counts [K] entries, by one host synchronisation or, in ListSizes.kept, none.

    most: they are not longer than that.
    """
    sizes = _ACTIVE.get()
    return counts.tolist() if sizes is None else sizes.lengths_of(counts, most)


def list_length(count: Tensor, most: int | None = None) -> int:
    """Return how long to make a list with count [1] entries; see list_lengths."""
    return list_lengths(count, most)[0]


def tell_wrong(is_wrong: Tensor) -> None:
    """Say within `ListSizes` that what is computed is wrong, if it is."""
    sizes = _ACTIVE.get()
    if sizes is not None:
        sizes.tell(is_wrong)


def _with_spare(length: int) -> int:
    longer = int(length * (LONG_SPARE if length > LONG else SPARE))
    return -(-max(longer, length + LEAST_SPARE) // 256) * 256
