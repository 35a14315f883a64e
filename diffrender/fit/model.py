"""SceneModel: a scene with learned values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.joined_vertices import join_vertices
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.parametrizations import PARAMETRIZATIONS
from diffrender.scene.cameras import Cameras
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import (
    ParameterPath,
    canonical_path,
    get_value,
    kind_of,
    learnable_paths,
    replace_values,
)
from diffrender.scene.quantity_kinds import Kind
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class SceneTemplate:
    """The scene that receives the learned values of a model.

    scene: the initial scene, possibly with other meshes.
    parametrizations: by canonical path; those of vertices are bound to the mesh in `scene`.
    """

    scene: Scene
    parametrizations: Mapping[str, Parametrization]


class SceneModel(nn.Module):
    """Owns one latent per learned value; calling it returns the current scene.

    scene, cameras: the initial values. What is not learned is shared with them and never copied.
    parameters: path (diffrender.scene.parameter_paths) -> parametrisation, its name in PARAMETRIZATIONS, or None for
        the value's default.

    A latent has the device and dtype of its value. If an object changes its mesh (`with_mesh`), its latents become new
    tensors, so get `latents` again in each step.
    Raises ConfigError for an unknown path or parametrisation, or if nothing is learned; ShapeError, naming the path,
    for a value outside its domain.
    """

    def __init__(self, scene: Scene, cameras: Cameras, parameters: Mapping[str, str | Parametrization | None]) -> None:
        super().__init__()
        if not parameters:
            available = ", ".join(learnable_paths(scene, cameras))
            raise ConfigError(f"nothing to optimise; name at least one of: {available}")
        self._initial_cameras = cameras
        self._methods: dict[str, Parametrization] = {}
        for path, name in parameters.items():
            canonical = canonical_path(scene, cameras, path)
            if canonical in self._methods:
                raise ConfigError(f"{canonical} is given twice, in full and in its short form; keep one of them")
            method = name or kind_of(scene, cameras, canonical).parametrization
            self._methods[canonical] = _parametrization(method, canonical) if isinstance(method, str) else method
        self._initial_scene = scene = _without_moving_parts(scene, self._methods)
        self._joined = {next(iter(joined.index)): joined for joined in join_vertices(scene, list(self._methods))}
        self._leaders = {path: first for first, joined in self._joined.items() for path in joined.index}
        for path, first in self._leaders.items():
            own, other = self._methods[path], self._methods[first]
            if type(own) is not type(other) or vars(own) != vars(other):
                raise ConfigError(f"{path} and {first} are vertices of one surface; give them the same `method`")
            if path != first:
                del self._methods[path]
        bound = {}
        for path, method in self._methods.items():
            bound[path] = method.bind(self._mesh(scene, path)) if ParameterPath.parse(path).is_vertices else method
        self.restore(SceneTemplate(scene, bound), self.first_latents(SceneTemplate(scene, bound)))

    def restore(self, template: SceneTemplate, latents: Mapping[str, Tensor]) -> None:
        """Set the template, and one matching latent per learned value."""
        self._template = template
        self._latents = nn.ParameterDict({_key(path): nn.Parameter(latents[path]) for path in self._methods})

    def first_latents(self, template: SceneTemplate) -> dict[str, Tensor]:
        """Return the latents of the values in `template`, by canonical path. Raises ShapeError, naming the path."""
        return {
            path: _first_latent(parametrization, path, self._first_value(template.scene, path))
            for path, parametrization in template.parametrizations.items()
        }

    def _mesh(self, scene: Scene, path: str) -> Mesh:
        """Return the mesh whose vertices are learned at `path`."""
        joined = self._joined.get(path)
        return scene.objects[ParameterPath.parse(path).name].mesh if joined is None else joined.mesh

    def _first_value(self, scene: Scene, path: str) -> Tensor:
        joined = self._joined.get(path)
        return get_value(scene, self._initial_cameras, path) if joined is None else joined.mesh.vertices

    def with_mesh(self, template: SceneTemplate, name: str, item: Object) -> SceneTemplate:
        """Return `template` with the object `name` replaced by `item`, which has another mesh; the model is kept."""
        path = str(ParameterPath.vertices(name))
        bound = dict(template.parametrizations)
        if path in bound:
            bound[path] = self._methods[path].bind(item.mesh)
        return SceneTemplate(dataclasses.replace(template.scene, objects={**template.scene.objects, name: item}), bound)

    @property
    def template(self) -> SceneTemplate:
        """The scene that receives the learned values, and their parametrisations."""
        return self._template

    @property
    def initial_template(self) -> SceneTemplate:
        """The template with the meshes of the initial scene."""
        template = self._template
        for name, item in self._initial_scene.objects.items():
            if template.scene.objects[name] is not item:
                template = self.with_mesh(template, name, item)
        return template

    def changed_objects_of(self, template: SceneTemplate) -> dict[str, Object]:
        """Return the objects in `template` whose mesh is not the initial one, by name.

        Their learned values date from the change of mesh.
        """
        initial = self._initial_scene.objects
        return {name: item for name, item in template.scene.objects.items() if item is not initial[name]}

    @property
    def latents(self) -> dict[str, nn.Parameter]:
        """The latents by canonical path (`latent_path`), in the order of `parameters`."""
        return {path: self._latents[_key(path)] for path in self._methods}

    def parametrization(self, path: str) -> Parametrization:
        """Return the parametrisation of the value at a canonical path; that of vertices is bound to their mesh."""
        return self._template.parametrizations[path]

    def kind(self, path: str) -> Kind:
        """Return the kind of quantity at `path`."""
        return kind_of(self._initial_scene, self._initial_cameras, path)

    def full_path(self, path: str) -> str:
        """Return the canonical form of `path`. Raises ConfigError if it is not in the scene."""
        return canonical_path(self._initial_scene, self._initial_cameras, path)

    def latent_path(self, path: str) -> str:
        """Return the canonical path under which the value at `path` has its latent.

        It is another for the vertices of parts of one surface (`Object.part_of`): those of its first learned part.
        """
        full = self.full_path(path)
        return self._leaders.get(full, full)

    @property
    def joined_paths(self) -> list[str]:
        """The paths of all vertices that are learned as those of one mesh with others."""
        return list(self._leaders)

    def vertex_mesh(self, path: str) -> Mesh:
        """Return the current mesh whose vertices have their latent at the canonical `path`."""
        return self._mesh(self._template.scene, path)

    def values(self) -> dict[str, Tensor]:
        """Return the learned values by canonical path; differentiable in the latents."""
        return self._values_of(self._template, self.latents)

    def _values_of(self, template: SceneTemplate, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for path, latent in latents.items():
            value = template.parametrizations[path].value_of(latent)
            values |= self._joined[path].split(value) if path in self._joined else {path: value}
        return values

    def state_at(self, values: Mapping[str, Tensor]) -> tuple[Scene, Cameras]:
        """Return scene and cameras with `values`, by canonical path."""
        return replace_values(self._template.scene, self._initial_cameras, values)

    def state(self) -> tuple[Scene, Cameras]:
        """Return the current scene and all cameras; differentiable in the latents."""
        return self.state_at(self.values())

    def forward(self) -> Scene:
        """Return the current scene; differentiable in the latents."""
        return self.state()[0]

    def cameras(self) -> Cameras:
        """Return all cameras, in the order of the fitted views; differentiable in the latents."""
        return self.state()[1]

    @torch.no_grad()
    def snapshot(self) -> tuple[Scene, Cameras]:
        """Return copies of the current scene and cameras: later steps do not change them, and they have no gradient."""
        return self.snapshot_of(self._template, self.latents)

    @torch.no_grad()
    def snapshot_of(self, template: SceneTemplate, latents: Mapping[str, Tensor]) -> tuple[Scene, Cameras]:
        """Return copies as `snapshot` does, of another state of this model: a template and matching latents."""
        values = {path: value.detach().clone() for path, value in self._values_of(template, latents).items()}
        return replace_values(template.scene, self._initial_cameras, values)


def _without_moving_parts(scene: Scene, paths: Iterable[str]) -> Scene:
    """Return the scene in which objects that move on their own are no longer parts of a surface with others."""
    moving = {parts.name for path in paths if (parts := ParameterPath.parse(path)).is_placement}
    objects = {
        name: dataclasses.replace(item, part_of=None) if name in moving and item.part_of is not None else item
        for name, item in scene.objects.items()
    }
    return dataclasses.replace(scene, objects=objects)


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
    """Return `path` as a name that nn.Module accepts, which reserves the dot."""
    return path.replace(".", "/")
