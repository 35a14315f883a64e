"""SceneModel: a scene with learned values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.joined_vertices import JoinedVertices, join_vertices
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.parametrizations import PARAMETRIZATIONS
from diffrender.fit.program import Program
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

    scene: the initial scene, possibly with other meshes and textures.
    parametrizations: by canonical path; those of vertices and materials are bound to the mesh and values in `scene`.
    joined: the surfaces of several parts whose vertices are learned as those of one mesh, by the path of their latent.
    """

    scene: Scene
    parametrizations: Mapping[str, Parametrization]
    joined: Mapping[str, JoinedVertices]

    def mesh_at(self, path: str) -> Mesh:
        """Return the mesh whose vertices have their latent at the canonical `path`."""
        joined = self.joined.get(path)
        return self.scene.objects[ParameterPath.parse(path).name].mesh if joined is None else joined.mesh

    def index_at(self, path: str) -> dict[str, Tensor]:
        """Return, by name of the objects with vertices in that mesh, the vertex of it that each of theirs is."""
        joined = self.joined.get(path)
        if joined is None:
            vertices = self.mesh_at(path).vertices
            return {ParameterPath.parse(path).name: torch.arange(len(vertices), device=vertices.device)}
        return {ParameterPath.parse(each).name: index for each, index in joined.index.items()}


class SceneModel(nn.Module):
    """Owns one latent per learned value; calling it returns the current scene.

    scene, cameras: the initial values. What is not learned is shared with them and never copied.
    parameters: path (diffrender.scene.parameter_paths) -> parametrisation, its name in PARAMETRIZATIONS, or None for
        the value's default.

    program: makes other values follow from the learned ones, in every state of the model; None: none do.

    A latent has the device and dtype of its value. If objects change their meshes (`with_objects`), their latents are
    new tensors, so get `latents` again in each step.
    Raises ConfigError for an unknown path or parametrisation, or if nothing is learned; ShapeError, naming the path,
    for a value outside its domain.
    """

    def __init__(
        self,
        scene: Scene,
        cameras: Cameras,
        parameters: Mapping[str, str | Parametrization | None],
        program: Program | None = None,
    ) -> None:
        super().__init__()
        self._program = program
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
            made = _parametrization(method, canonical) if isinstance(method, str) else method
            self._methods[canonical] = made.starting_at(get_value(scene, cameras, canonical))
        self._initial_scene = scene = _without_moving_parts(scene, self._methods)
        joined = {next(iter(each.index)): each for each in join_vertices(scene, list(self._methods))}
        self._leaders = {path: first for first, each in joined.items() for path in each.index}
        for path, first in self._leaders.items():
            own, other = self._methods[path], self._methods[first]
            if type(own) is not type(other) or vars(own) != vars(other):
                raise ConfigError(f"{path} and {first} are vertices of one surface; give them the same `method`")
            if path != first:
                del self._methods[path]
        template = self._bind(SceneTemplate(scene, self._methods, joined), self._methods)
        self.restore(template, self.first_latents(template))

    def restore(self, template: SceneTemplate, latents: Mapping[str, Tensor]) -> None:
        """Set the template, and one matching latent per learned value."""
        self._template = template
        self._latents = nn.ParameterDict({_key(path): nn.Parameter(latents[path]) for path in self._methods})

    def first_latents(self, template: SceneTemplate) -> dict[str, Tensor]:
        """Return the latents of the values in `template`, by canonical path. Raises ShapeError, naming the path."""
        return {
            path: _first_latent(parametrization, path, self._first_value(template, path))
            for path, parametrization in template.parametrizations.items()
        }

    def _first_value(self, template: SceneTemplate, path: str) -> Tensor:
        is_vertices = ParameterPath.parse(path).is_vertices
        return (
            template.mesh_at(path).vertices if is_vertices else get_value(template.scene, self._initial_cameras, path)
        )

    def _bind(self, template: SceneTemplate, paths: Iterable[str]) -> SceneTemplate:
        """Return `template` with the parametrisations of vertices, of those among `paths`, bound to their meshes."""
        bound = {
            path: self._methods[path].bind(template.mesh_at(path))
            for path in paths
            if path in self._methods and ParameterPath.parse(path).is_vertices
        }
        return dataclasses.replace(template, parametrizations={**template.parametrizations, **bound})

    def with_objects(self, template: SceneTemplate, items: Mapping[str, Object]) -> SceneTemplate:
        """Return `template` with objects replaced by `items`, by name: other meshes, other textures; the model is kept.

        All learned parts of a surface must be replaced together.
        """
        scene = dataclasses.replace(template.scene, objects={**template.scene.objects, **items})
        changed = {self._leaders.get(path, path) for path in (str(ParameterPath.vertices(name)) for name in items)}
        joined = dict(template.joined)
        if changed & joined.keys():
            found = {next(iter(each.index)): each for each in join_vertices(scene, list(self._leaders))}
            joined |= {path: each for path, each in found.items() if path in changed}
        of_materials = {
            path: method.resized(get_value(scene, self._initial_cameras, path))
            for path, method in self._methods.items()
            if (parts := ParameterPath.parse(path)).part == "material" and parts.name in items
        }
        return self._bind(SceneTemplate(scene, {**template.parametrizations, **of_materials}, joined), changed)

    @property
    def template(self) -> SceneTemplate:
        """The scene that receives the learned values, and their parametrisations."""
        return self._template

    @property
    def initial_template(self) -> SceneTemplate:
        """The template with the meshes of the initial scene."""
        now = self._template.scene.objects
        changed = {name: item for name, item in self._initial_scene.objects.items() if now[name] is not item}
        return self.with_objects(self._template, changed) if changed else self._template

    def changed_objects_of(self, template: SceneTemplate) -> dict[str, Object]:
        """Return the objects in `template` whose mesh or textures are not the initial ones, by name.

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
        return self._template.mesh_at(path)

    def values(self) -> dict[str, Tensor]:
        """Return the learned values by canonical path; differentiable in the latents."""
        return self.values_of(self.latents)

    def values_of(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the values of other latents, one per learned value, by canonical path; differentiable in them."""
        return self._values_of(self._template, latents)

    def _values_of(self, template: SceneTemplate, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for path, latent in latents.items():
            value = template.parametrizations[path].value_of(latent)
            joined = template.joined.get(path)
            values |= {path: value} if joined is None else joined.split(value)
        return values

    def state_at(self, values: Mapping[str, Tensor], step: int | None = None) -> tuple[Scene, Cameras]:
        """Return scene and cameras with `values`, by canonical path.

        step: whose annealed numbers the program takes; None, as in all other states: their last.
        """
        return self._completed(*replace_values(self._template.scene, self._initial_cameras, values), step)

    def _completed(self, scene: Scene, cameras: Cameras, step: int | None = None) -> tuple[Scene, Cameras]:
        return (scene if self._program is None else self._program(scene, step)), cameras

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
        return self._completed(*replace_values(template.scene, self._initial_cameras, values))


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
