"""Walk the fields of the dataclasses that make up a scene, to move, copy, save and export them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor

from diffrender.scene.textures.texture import Texture

Node = TypeVar("Node")


def fields_of(holder: Any) -> dict[str, Any]:
    """Return the values of a dataclass (a material, a light, a texture) by field, in the order of its fields."""
    return {field.name: getattr(holder, field.name) for field in dataclasses.fields(holder)}


def textures_of(holder: Any) -> dict[str, Texture]:
    """Return those values of a dataclass that are textures, by field."""
    return {name: value for name, value in fields_of(holder).items() if isinstance(value, Texture)}


def with_fields(holder: Node, fields: Mapping[str, Any]) -> Node:
    """Return a dataclass with other values of some fields."""
    return dataclasses.replace(holder, **fields)  # type: ignore[type-var]


def map_tensors(node: Node, change: Callable[[Tensor], Tensor]) -> Node:
    """Return `node` with `change` applied to every tensor in it: in dataclasses and mappings, at any depth.

    What holds no tensor that changes is shared with the original.
    """
    if isinstance(node, Tensor):
        return change(node)  # type: ignore[return-value]
    if isinstance(node, Mapping):
        return {name: map_tensors(value, change) for name, value in node.items()}  # type: ignore[return-value]
    if not dataclasses.is_dataclass(node):
        return node
    before = fields_of(node)
    after = {name: map_tensors(value, change) for name, value in before.items()}
    changed = {name: value for name, value in after.items() if not _is_same(value, before[name])}
    return with_fields(node, changed) if changed else node


def _is_same(first: Any, second: Any) -> bool:
    if isinstance(first, Mapping):
        return all(first[name] is second[name] for name in second)
    return first is second
