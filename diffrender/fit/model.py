"""SceneModel: a scene some of whose values are learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.parametrizations import PARAMETRIZATIONS
from diffrender.scene.cameras import Cameras
from diffrender.scene.paths import (
    canonical_path,
    default_parametrization,
    get_value,
    learnable_paths,
    object_of_vertices,
    replace_values,
)
from diffrender.scene.scene import Scene


class SceneModel(nn.Module):
    """Owns a latent for each learned value; called, it returns the scene of the moment.

    scene, cameras: the starting guess. What is not learned is shared with them and never copied.
    parameters: path (diffrender.scene.paths) -> parametrisation, its name in PARAMETRIZATIONS, or None for the value's
        default.

    A latent lives on the device of its value and has its dtype. Raises ConfigError for an unknown path or
    parametrisation, or when nothing is learned; ShapeError, naming the path, for a value outside its domain.
    """

    def __init__(self, scene: Scene, cameras: Cameras, parameters: Mapping[str, str | Parametrization | None]) -> None:
        super().__init__()
        if not parameters:
            available = ", ".join(learnable_paths(scene, cameras))
            raise ConfigError(f"nothing to optimise; name at least one of: {available}")
        self._initial_scene = scene
        self._initial_cameras = cameras
        self._parametrizations: dict[str, Parametrization] = {}
        latents = {}
        for path, name in parameters.items():
            canonical = canonical_path(scene, cameras, path)
            if canonical in self._parametrizations:
                raise ConfigError(f"{canonical} is given twice, in full and in its short form; keep one of them")
            parametrization = name or default_parametrization(scene, cameras, canonical)
            if isinstance(parametrization, str):
                parametrization = _parametrization(parametrization, canonical)
            item = object_of_vertices(canonical)
            if item is not None:
                parametrization = parametrization.bound_to(scene.objects[item].mesh)
            self._parametrizations[canonical] = parametrization
            latents[_key(canonical)] = nn.Parameter(
                _first_latent(parametrization, canonical, get_value(scene, cameras, canonical))
            )
        self._latents = nn.ParameterDict(latents)

    @property
    def latents(self) -> dict[str, nn.Parameter]:
        """The latents by canonical path, in the order in which they were asked for."""
        return {path: self._latents[_key(path)] for path in self._parametrizations}

    def parametrization(self, path: str) -> Parametrization:
        """That of the value at a canonical path; of vertices, bound to their mesh."""
        return self._parametrizations[path]

    def full_path(self, path: str) -> str:
        """`path` written in full. Raises ConfigError for one that is not in the scene."""
        return canonical_path(self._initial_scene, self._initial_cameras, path)

    def values(self) -> dict[str, Tensor]:
        """The learned values by canonical path; differentiable in the latents."""
        return {path: self._parametrizations[path].value_of(latent) for path, latent in self.latents.items()}

    def state_at(self, values: Mapping[str, Tensor]) -> tuple[Scene, Cameras]:
        """The starting scene and cameras with `values` in their places."""
        return replace_values(self._initial_scene, self._initial_cameras, values)

    def state(self) -> tuple[Scene, Cameras]:
        """The scene and all its cameras; differentiable in the latents."""
        return self.state_at(self.values())

    def forward(self) -> Scene:
        """The scene; differentiable in the latents."""
        return self.state()[0]

    def cameras(self) -> Cameras:
        """All cameras, in the order of the fitted views; differentiable in the latents."""
        return self.state()[1]

    @torch.no_grad()
    def snapshot(self) -> tuple[Scene, Cameras]:
        """Scene and cameras as they are now, copied: later steps do not change them, and they carry no gradient."""
        return self.state_at({path: value.detach().clone() for path, value in self.values().items()})


def _parametrization(name: str, path: str) -> Parametrization:
    if name not in PARAMETRIZATIONS:
        raise ConfigError(f"{path}: there is no parametrisation {name!r}; choose from {', '.join(PARAMETRIZATIONS)}")
    return PARAMETRIZATIONS[name]()


def _first_latent(parametrization: Parametrization, path: str, value: Tensor) -> Tensor:
    try:
        latent = parametrization.latent_of(value)
        reached = parametrization.value_of(latent)
    except ShapeError as error:
        raise ShapeError(f"{path}: {error}") from error
    if reached.shape != value.shape:
        raise ShapeError(f"{path}: {type(parametrization).__name__} does not suit values of shape {list(value.shape)}")
    return latent.contiguous()


def _key(path: str) -> str:
    """`path` as a name that nn.Module accepts: it uses the dot itself."""
    return path.replace(".", "/")
