"""Scene: everything that is rendered, as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from diffrender.checks import check_shape, check_type
from diffrender.scene.light import Light
from diffrender.scene.motion import Motion
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import COLOR, map_tensors, quantity


@dataclass(frozen=True)
class Scene:
    """Objects, lights and a background colour.

        ball = Object(Mesh(vertices, faces), Lambert(torch.tensor([0.8, 0.3, 0.1])))
        scene = Scene({"ball": ball}, {"sun": Directional(), "sky": Ambient()})

    objects: by name; their faces are numbered in this order.
    lights: by name; default none.
    background: [3] linear RGB in 0..1; if omitted, black, of the first object's device and dtype.
    program: the parameters, by name, of a program that other values follow from (fit.program); they are no part of
        what is seen.
    motion: the values that differ between views, by their times; None: all views see the same. Everything else that is
        done with a scene (files, checks of its shape) is done with the scene as it is without: that of the first time.

    A scene is immutable and holds no parameters: `dataclasses.replace` or `scene.parameter_paths.replace_values` make
    a changed one. Raises ShapeError for a background of another shape.
    """

    objects: Mapping[str, Object]
    lights: Mapping[str, Light] = field(default_factory=dict)
    background: Tensor = quantity(COLOR, None)
    program: Mapping[str, Tensor] = field(default_factory=dict)
    motion: Motion | None = None

    def __post_init__(self) -> None:
        for values, kind, wanted in ((self.objects, Object, "Objects"), (self.lights, Light, "Lights")):
            argument = wanted.lower()
            check_type("Scene", argument, values, Mapping, f"a mapping from names to {wanted}")
            for name, value in values.items():
                check_type("Scene", f"{argument}[{name!r}]", value, kind)
        if self.background is None:
            like = next((item.mesh.vertices for item in self.objects.values()), torch.zeros(0))
            object.__setattr__(self, "background", like.new_zeros(3))
        check_shape("Scene", "background", self.background, (3,))
        object.__setattr__(self, "objects", MappingProxyType(dict(self.objects)))
        object.__setattr__(self, "lights", MappingProxyType(dict(self.lights)))
        object.__setattr__(self, "program", MappingProxyType(dict(self.program)))

    def to(self, device: torch.device | str) -> Scene:
        """Return the same scene on `device`."""
        return map_tensors(self, lambda tensor: tensor.to(device))
