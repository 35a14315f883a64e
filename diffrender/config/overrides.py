"""Values from the command line, put into a scene file's tree as if they had been written there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from diffrender.config.diagnostics import Diagnostic, SourceSpan, did_you_mean
from diffrender.config.yaml_tree import Location, Tree, YamlSyntaxError, read_scalar_or_flow

# Keys whose entries have names; there is nothing to name before the list is there.
LISTS = ("lights", "objects")


# What a bare word below a key, and a bare number in a mapping, stands for: `image: l1` is `image: {type: l1}`.
WORD_KEYS = {"mesh": "file"} | dict.fromkeys(("material", "edges", "image", "mask", "schedule"), "type")
NUMBER_KEYS: dict[Location, str] = {("optimize",): "lr", ("loss",): "weight"}


class ShellText(str):
    """Text that was typed on the command line: a file named by it is relative to the working folder."""

    __slots__ = ()


@dataclass(frozen=True)
class Override:
    """One value from the command line.

    key: dotted path, as `optimize.steps` or `lights.key.direction`; list items by their name or index.
    value: the value, as YAML; None where it was left out.
    option: the option that set it, for messages: "--set", "--seed".
    """

    key: str
    value: str | None
    option: str = "--set"

    @classmethod
    def parse(cls, text: str) -> Override:
        """The override that `--set text` stands for; a missing `=` is reported when it is applied."""
        key, equals, value = text.partition("=")
        return cls(key.strip(), value if equals else None)

    def place_of_key(self) -> SourceSpan:
        """The key on the command line."""
        start = len(self.option) + 1
        if self.option == "--set":
            return SourceSpan(self.option, 0, start + 1, self._shown(), max(len(self.key), 1))
        return SourceSpan(self.option, 0, 1, self._shown(), len(self.option))

    def place_of_value(self) -> SourceSpan:
        """The value on the command line."""
        shown = self._shown()
        width = len(self.value or "")
        return SourceSpan(self.option, 0, len(shown) - width + 1, shown, max(width, 1))

    def _shown(self) -> str:
        if self.value is None:
            return f"{self.option} {self.key}"
        return f"{self.option} {self.key}={self.value}" if self.option == "--set" else f"{self.option} {self.value}"


def apply_overrides(tree: Tree, overrides: Sequence[Override], entry_options: Collection[str]) -> None:
    """Put the overrides into `tree`, later ones over earlier ones; what cannot be placed becomes a mistake there.

    entry_options: the options of one entry of `optimize:`. They end its dotted name, so that
        `optimize.mesh.vertices.lr=0.1` means the option lr of the entry `mesh.vertices`.
    """
    for override in overrides:
        mistake = _apply(tree, override, entry_options)
        if mistake is not None:
            tree.mistakes.append(mistake)


def _apply(tree: Tree, override: Override, entry_options: Collection[str]) -> Diagnostic | None:
    if override.value is None or not override.key:
        return Diagnostic(override.place_of_key(), "wanted key=value", ("for example: --set optimize.steps=200",))
    if any(not part for part in override.key.split(".")):
        return Diagnostic(override.place_of_key(), "a key with an empty part", ("one dot between two names",))
    try:
        value = _from_shell(read_scalar_or_flow(override.value))
    except YamlSyntaxError as error:
        return Diagnostic(override.place_of_value(), error.mistake.message, ())
    if tree.data is None:
        tree.data = {}
    return _Descent(tree, override, entry_options).put(value)


def _from_shell(value: Any) -> Any:
    if isinstance(value, str):
        return ShellText(value)
    if isinstance(value, list):
        return [_from_shell(item) for item in value]
    if isinstance(value, dict):
        return {key: _from_shell(item) for key, item in value.items()}
    return value


def _expand_shorthand(location: Location, value: Any) -> dict[str, Any] | None:
    """The mapping that a bare word or number at `location` stands for, or None where it stands for itself."""
    parent, name = location[:-1], location[-1]
    key = None
    if isinstance(value, str):
        key = "type" if isinstance(name, int) else WORD_KEYS.get(name)
    elif isinstance(value, int | float) and not isinstance(value, bool) and parent in NUMBER_KEYS:
        key = NUMBER_KEYS[parent]
    return None if key is None else {key: value}


class Step(NamedTuple):
    """One level down: the key or index there, and how many parts of the dotted key it takes."""

    key: str | int
    n_parts: int


class _Descent:
    """The walk from the top of a tree along a dotted key."""

    def __init__(self, tree: Tree, override: Override, entry_options: Collection[str]):
        self.tree = tree
        self.override = override
        self.entry_options = entry_options

    def put(self, value: Any) -> Diagnostic | None:
        parent: Any = self.tree.data
        location: Location = ()
        parts = self.override.key.split(".")
        while True:
            step = self.step(parent, location, parts)
            if isinstance(step, Diagnostic):
                return step
            here, parts = (*location, step.key), parts[step.n_parts :]
            if not parts:
                break
            key: Any = step.key
            child = parent[key] if isinstance(parent, list) else parent.get(key)
            if child is None and here[-1] in LISTS:
                message = f"there is no list `{here[-1]}` in the file that could hold `{parts[0]}`"
                return Diagnostic(
                    self.override.place_of_key(), message, (f"set all of it: --set '{here[-1]}=[{{...}}]'",)
                )
            spelled_out = {} if child is None else _expand_shorthand(here, child)
            if spelled_out is not None:
                child = spelled_out
                self.assign(parent, step.key, child, here)
            parent, location = child, here
        self.assign(parent, here[-1], value, here)
        return None

    def step(self, parent: Any, location: Location, parts: list[str]) -> Step | Diagnostic:
        """The next level below `parent`."""
        if isinstance(parent, dict):
            for count in range(len(parts), 0, -1):
                if ".".join(parts[:count]) in parent:
                    return Step(".".join(parts[:count]), count)
            if location == ("optimize",):
                ends = [i for i, part in enumerate(parts) if part in self.entry_options and i > 0]
                count = ends[-1] if ends else len(parts)
                return Step(".".join(parts[:count]), count)
            return Step(parts[0], 1)
        if isinstance(parent, list):
            return self.list_item(parent, location, parts[0])
        where = ".".join(map(str, location))
        return Diagnostic(
            self.override.place_of_key(),
            f"`{where}` is the plain value `{parent}`, which has no `{parts[0]}`",
            (f"set all of it: --set '{where}={{...}}'",),
        )

    def list_item(self, items: list[Any], location: Location, part: str) -> Step | Diagnostic:
        names = [str(item.get("name") or item.get("type")) if isinstance(item, dict) else None for item in items]
        if part in names:
            return Step(names.index(part), 1)
        if part.isdigit() and int(part) < len(items):
            return Step(int(part), 1)
        where = ".".join(str(key) for key in location)
        known = [name for name in names if name is not None]
        wanted = f"one of {', '.join(known)}, or an index" if known else "an index"
        suggestion = did_you_mean(part, known)
        return Diagnostic(
            self.override.place_of_key(),
            f"`{where}` has no entry `{part}`; wanted {wanted} (it has {len(items)})",
            (suggestion,) if suggestion else (),
        )

    def assign(self, parent: Any, key: Any, value: Any, location: Location) -> None:
        parent[key] = value
        for places in (self.tree.keys, self.tree.values):
            for stale in [other for other in places if other[: len(location)] == location]:
                del places[stale]
        self.tree.keys[location] = self.override.place_of_key()
        self.tree.values[location] = self.override.place_of_value()
