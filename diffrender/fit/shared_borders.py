"""SharedBorders: learned vertices of several objects that stay together, as those of parts of one surface do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.topology import first_equal_row
from diffrender.scene.joined_parts import surfaces_of
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.scene import Scene


class _Members(NamedTuple):
    """Vertices [B] of one object, and the group [B] of each."""

    vertex: Tensor
    group: Tensor


class SharedBorders:
    """The vertices that parts of a surface have in common at first.

    scene: with the initial meshes. paths: of the learned vertices, in full. Where a part that is not learned has such a
    vertex, it stays there.
    """

    def __init__(self, scene: Scene, paths: set[str]) -> None:
        self._members: dict[str, _Members] = {}
        fixed, counts, n_groups = [], [], 0
        for parts in surfaces_of(scene):
            if len(parts) == 1:
                continue
            vertices = torch.cat([item.mesh.vertices.detach() for item in parts.values()])
            owner = torch.cat([torch.full((item.mesh.n_vertices,), i) for i, item in enumerate(parts.values())])
            first = first_equal_row(vertices).cpu()
            # In common: a group with vertices of another object than that of its first.
            group = torch.unique(first[owner != owner[first]])
            number = torch.full((len(first),), -1).index_copy(0, group, torch.arange(len(group)))[first]
            is_learned = torch.tensor([str(ParameterPath.vertices(name)) in paths for name in parts])[owner]
            held = (number >= 0) & ~is_learned
            position = vertices.new_full((len(group), 3), torch.nan)
            position[number[held]] = vertices[held]
            fixed.append(position)
            counts.append(torch.bincount(number[(number >= 0) & is_learned], minlength=len(group)))
            start = 0
            for name, item in parts.items():
                own = number[start : start + item.mesh.n_vertices]
                start += item.mesh.n_vertices
                path = str(ParameterPath.vertices(name))
                if path in paths and bool((own >= 0).any()):
                    vertex = torch.nonzero(own >= 0)[:, 0]
                    device = vertices.device
                    self._members[path] = _Members(vertex.to(device), (own[vertex] + n_groups).to(device))
            n_groups += len(group)
        if self._members:
            self._fixed = torch.cat(fixed)
            self._share = 1 / torch.cat(counts).clamp(min=1).to(self._fixed)[:, None]

    @property
    def paths(self) -> list[str]:
        """The paths of the learned vertices of which some are shared."""
        return list(self._members)

    def tie(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return `values`, by path, with each group of shared vertices at its mean; differentiable."""
        if not self._members:
            return dict(values)
        mean = torch.zeros_like(self._fixed)
        for path, (vertex, group) in self._members.items():
            mean = mean.index_add(0, group, values[path][vertex] * self._share[group])
        mean = mean.where(self._fixed.isnan(), self._fixed)
        tied = {
            path: values[path].index_copy(0, vertex, mean[group]) for path, (vertex, group) in self._members.items()
        }
        return {**values, **tied}
