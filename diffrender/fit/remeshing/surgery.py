"""Change the meshes of a fit between two steps, with the latents and moments at their vertices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from diffrender.fit.model import SceneModel
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer
from diffrender.fit.reach import Reach
from diffrender.fit.remeshing.remesh_object import RemeshedObject, remesh_with_attributes, subdivide_with_attributes
from diffrender.fit.remeshing.reunwrap import reunwrap
from diffrender.fit.target_lengths import TargetLengths
from diffrender.scene.mesh import Mesh
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.quantity_kinds import textures_of, vertex_fields_of


@torch.no_grad()
def remesh_due(model: SceneModel, optimizer: FitOptimizer, done: int, reach: Reach) -> None:
    """Remesh the objects that are due after `done` steps; unwrap and subdivide those that are not remeshed later.

    reach: of their vertices; those that are beyond it, or not finite, are left to the checks of the next step.
    """
    steps = optimizer.steps
    for path, targets in optimizer.target_lengths.items():
        policy = targets.policy
        if not policy.is_due(done, steps):
            continue
        vertices = model.parametrization(path).value_of(model.latents[path])
        if not bool(torch.isfinite(vertices.sum())) or reach.find_far({path: vertices}) is not None:
            continue
        mesh = model.template.scene.objects[ParameterPath.parse(path).name].mesh.with_vertices(vertices)
        stretch = policy.stretch(mesh, targets.lengths)

        def remesh(
            mesh: Mesh, rows: dict[str, Tensor], lengths: Tensor, policy=policy, stretch=stretch
        ) -> RemeshedObject:
            found = remesh_with_attributes(mesh, rows, lengths * stretch, policy.passes, policy.most_remeshed)
            return found._replace(lengths=found.lengths / stretch)

        _change_mesh(model, optimizer, path, mesh, targets, remesh)
        if policy.is_last(done, steps):
            _finish(model, optimizer, path, targets)


def _finish(model: SceneModel, optimizer: FitOptimizer, path: str, targets: TargetLengths) -> None:
    """Unwrap an object that is not remeshed any more, and subdivide it."""
    policy, name = targets.policy, ParameterPath.parse(path).name
    if policy.unwrap and textures_of(model.template.scene.objects[name].material):
        change = reunwrap(model, name, optimizer.moments, optimizer.variants)
        model.restore(change.template, change.latents)
        optimizer.moments = change.moments
    mesh = model.template.scene.objects[name].mesh
    if policy.subdivide and 4 * mesh.n_faces <= policy.most_faces:
        vertices = model.parametrization(path).value_of(model.latents[path])
        _change_mesh(model, optimizer, path, mesh.with_vertices(vertices), targets, subdivide_with_attributes)


Change: TypeAlias = Callable[[Mesh, dict[str, Tensor], Tensor], RemeshedObject]
"""From a mesh, rows of its vertices and target lengths to another mesh with its rows and lengths."""


def _change_mesh(
    model: SceneModel, optimizer: FitOptimizer, path: str, mesh: Mesh, targets: TargetLengths, change: Change
) -> None:
    """Replace the mesh whose vertices are at `path`; fields, latents and moments are interpolated."""
    template, latents, moments = model.template, model.latents, dict(optimizer.moments)
    name = ParameterPath.parse(path).name
    item = template.scene.objects[name]
    fields = vertex_fields_of(item.material, mesh.n_vertices)
    field_of = {str(ParameterPath.material(name, field)): field for field in fields}
    learned = [other for other in field_of if other in latents]
    rows = {"drift": targets.drift} | {f"field {field}": value for field, value in fields.items()}
    rows |= {f"latent {other}": latents[other] for other in learned}
    for other in (path, *learned):
        rows[f"speed {other}"], rows[f"root {other}"] = moments[other].rows()
    found = change(mesh, rows, targets.lengths)

    new_latents = {other: latent.detach() for other, latent in latents.items()}
    new_fields = {field: found.rows[f"field {field}"] for field in fields}
    for other in learned:
        new_latents[other] = found.rows[f"latent {other}"]
        new_fields[field_of[other]] = model.parametrization(other).value_of(new_latents[other])
    template = model.with_mesh(template, name, item.with_values(new_fields, found.mesh))
    new_latents[path] = template.parametrizations[path].latent_of(found.mesh.vertices)
    for other in (path, *learned):
        moments[other] = moments[other].with_rows(found.rows[f"speed {other}"], found.rows[f"root {other}"])
    model.restore(template, new_latents)
    optimizer.moments = moments
    targets.lengths, targets.drift = found.lengths, found.rows["drift"]
