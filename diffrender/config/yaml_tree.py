"""Read YAML with source spans: plain data, and the file, line and column of each key and value.

Scalars follow the YAML 1.2 core schema: `1e-3` is a number, `yes` and `on` are text, `012` is twelve.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from diffrender.config.format_mistakes import Diagnostic, MistakeError, SourceSpan

Location: TypeAlias = tuple[str | int, ...]
"""Keys and list indices from the top of the file down to a value."""


UNQUOTED_COLOR = re.compile(r"\s*:\s+(#[0-9a-fA-F]{6})\b")


class ShellText(str):
    """Text that was typed on the command line: a file named by it is relative to the working folder."""

    __slots__ = ()


@dataclass
class Tree:
    """Plain data (dicts, lists, scalars) with its source spans.

    data: the value at the top; None for an empty file.
    keys: where the key of a mapping entry is, by location.
    values: where a value is, by location. blank: where a key has no value, which reads as null.
    mistakes: those that did not stop the reading: duplicate keys, keys that are not text, colours without quotes.
    """

    data: Any
    keys: dict[Location, SourceSpan] = field(default_factory=dict)
    values: dict[Location, SourceSpan] = field(default_factory=dict)
    blank: set[Location] = field(default_factory=set)
    mistakes: list[Diagnostic] = field(default_factory=list)


class _CoreLoader(yaml.SafeLoader):
    """A loader for the scalars of the YAML 1.2 core schema, and no others."""


_NUMBER_STARTS = list("-+.0123456789")
_CoreLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _starts in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _NUMBER_STARTS),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _NUMBER_STARTS,
    ),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _starts)


class _CoreDumper(yaml.SafeDumper):
    """A dumper that quotes text that the loader would read as something else."""


_CoreDumper.yaml_implicit_resolvers = _CoreLoader.yaml_implicit_resolvers
_CoreDumper.add_representer(ShellText, yaml.SafeDumper.represent_str)


def read_yaml(text: str, source: str) -> Tree:
    """Return the Tree of one YAML document; `source` is the file's name in messages.

    Raises MistakeError if the text cannot be read as one document.
    """
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.YAMLError as error:
        raise MistakeError(_syntax_mistake(error, text, source)) from None
    tree = Tree(None)
    if node is not None:
        reader = _NodeReader(tree, text.splitlines(), source)
        tree.data = reader.read(node, ())
    return tree


def read_scalar_or_flow(text: str) -> Any:
    """Return the value of YAML text as it would be read after a colon: `1e-3`, `[1, 2]`, `{lr: 0.1}`.

    Raises MistakeError.
    """
    tree = read_yaml(text, "value")
    if tree.mistakes:
        raise MistakeError(tree.mistakes[0])
    return tree.data


def write_yaml(data: Any) -> str:
    """Return `data` (dicts, lists, scalars) as YAML that read_yaml gives back exactly; innermost lists in one line."""
    return yaml.dump(data, Dumper=_CoreDumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)


def write_flow(data: Any) -> str:
    """Return `data` as YAML in one line, as it may be written after a colon."""
    text = yaml.dump([data], Dumper=_CoreDumper, sort_keys=False, default_flow_style=True, width=math.inf)
    return text.strip()[1:-1]


class _NodeReader:
    """Turns YAML nodes into data, and records source spans."""

    def __init__(self, tree: Tree, lines: list[str], source: str):
        self.tree = tree
        self.lines = lines
        self.source = source
        self.open_nodes: list[yaml.Node] = []

    def place(self, node: yaml.Node) -> SourceSpan:
        start, end = node.start_mark, node.end_mark
        text = self.lines[start.line] if start.line < len(self.lines) else ""
        is_short = isinstance(node, yaml.ScalarNode) and end.line == start.line
        width = max(end.column - start.column, 1) if is_short else 1
        return SourceSpan(self.source, start.line + 1, start.column + 1, text, width)

    def read(self, node: yaml.Node, location: Location) -> Any:
        self.tree.values[location] = self.place(node)
        if any(node is other for other in self.open_nodes):
            self.note(node, "an alias that contains itself", "write the values out")
            return None
        if isinstance(node, yaml.ScalarNode) and not node.value:
            self.tree.blank.add(location)
        self.open_nodes.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self.read_mapping(node, location)
            if isinstance(node, yaml.SequenceNode):
                return [self.read(item, (*location, i)) for i, item in enumerate(node.value)]
            return self.read_scalar(node)
        finally:
            self.open_nodes.pop()

    def read_mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.note(key_node, "a key that is a list or a mapping", "keys are plain words: `key: value`")
                continue
            key = key_node.value
            here = (*location, key)
            if key in result:
                first = self.tree.keys[here]
                self.note(
                    key_node,
                    f"duplicate key `{key}`: it is already in line {first.line}, column {first.column}",
                    "keep one of the two",
                )
            self.tree.keys[here] = self.place(key_node)
            result[key] = self.read(value_node, here)
            color = self.color_behind(key_node) if here in self.tree.blank else None
            if color is not None:
                self.note(key_node, f"{color} is a comment to YAML, so that there is no value", "put it in quotes")
        return result

    def color_behind(self, key: yaml.Node) -> str | None:
        """Return the colour without quotes behind a key, which YAML takes for a comment."""
        end = key.end_mark
        behind = self.lines[end.line][end.column :] if end.line < len(self.lines) else ""
        found = UNQUOTED_COLOR.match(behind)
        return None if found is None else found[1]

    def read_scalar(self, node: yaml.Node) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text: str = node.value
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return text.lower() == "true"
            if kind == "int":
                return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            pass
        if kind != "str":
            self.note(node, f"cannot read `{text}` as `{node.tag}`", "remove the tag")
        return text

    def note(self, node: yaml.Node, message: str, remedy: str) -> None:
        self.tree.mistakes.append(Diagnostic(self.place(node), message, (remedy,)))


def _syntax_mistake(error: yaml.YAMLError, text: str, source: str) -> Diagnostic:
    lines = text.splitlines()
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        # For characters that YAML forbids, the error has a position but no line.
        position = int(getattr(error, "position", 0))
        line = text.count("\n", 0, position)
        column = position - (text.rfind("\n", 0, position) + 1)
        shown = lines[line] if line < len(lines) else ""
        return Diagnostic(
            SourceSpan(source, line + 1, column + 1, shown, 1), "a character that YAML does not allow", ()
        )
    mark = error.problem_mark
    if "end of stream" in (error.problem or "") and "quoted" in (error.context or "") and error.context_mark:
        line, column = error.context_mark.line, error.context_mark.column
        return Diagnostic(SourceSpan(source, line + 1, column + 1, lines[line], 1), "a quote that is never closed", ())
    shown = lines[mark.line] if mark.line < len(lines) else ""
    place = SourceSpan(source, mark.line + 1, mark.column + 1, shown, 1)
    problem = error.problem or "cannot be read as YAML"
    notes: tuple[str, ...] = ()
    if "\\t" in problem or (shown[: mark.column + 1].strip() == "" and "\t" in shown[: mark.column + 1]):
        return Diagnostic(place, "a tab; YAML indents with spaces only", ("replace the tab with spaces",))
    if error.context_mark is not None and error.context:
        notes = (f"{error.context}, which started in line {error.context_mark.line + 1}",)
    if UNQUOTED_COLOR.search(text):
        notes = (*notes, 'a colour must be in quotes, as "#00b140": to YAML, # begins a comment')
    if "expected ':'" in problem or "mapping values are not allowed" in problem:
        notes = (*notes, "write `key: value`, with a space after the colon, and indent the keys of one block alike")
    elif "single document" in (error.context or ""):
        return Diagnostic(place, "a second document starts here, but only one is allowed", ("remove the line `---`",))
    elif "expected ',' or" in problem:
        notes = (*notes, "close the bracket, or put a comma between the entries")
    return Diagnostic(place, f"this is not YAML: {problem}", notes)
