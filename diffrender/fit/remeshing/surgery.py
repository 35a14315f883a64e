"""Change the meshes of a fit between two steps, with the latents and moments at their vertices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from diffrender.fit.model import SceneModel
from diffrender.fit.optimizer.adam import AdamState
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer
from diffrender.fit.reach import Reach
from diffrender.fit.remeshing.remesh_object import RemeshedObject, remesh_with_attributes, subdivide_with_attributes
from diffrender.fit.remeshing.reunwrap import reunwrap
from diffrender.fit.remeshing.split_parts import split_parts
from diffrender.fit.target_lengths import TargetLengths
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.quantity_kinds import vertex_fields_of


@torch.no_grad()
def remesh_due(model: SceneModel, optimizer: FitOptimizer, done: int, reach: Reach) -> None:
    """Remesh what is due after `done` steps, an object or a surface; unwrap and subdivide what is not remeshed later.

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
        mesh = model.vertex_mesh(path).with_vertices(vertices)
        stretch = policy.stretch(mesh, targets.lengths)

        def remesh(
            mesh: Mesh, rows: dict[str, Tensor], lengths: Tensor, labels: Tensor | None, policy=policy, stretch=stretch
        ) -> RemeshedObject:
            most = policy.most_remeshed
            found = remesh_with_attributes(mesh, rows, lengths * stretch, policy.passes, most, labels)
            return found._replace(lengths=found.lengths / stretch)

        _change_mesh(model, optimizer, path, mesh, targets, remesh)
        if policy.is_last(done, steps):
            _finish(model, optimizer, path, targets)


def _finish(model: SceneModel, optimizer: FitOptimizer, path: str, targets: TargetLengths) -> None:
    """Unwrap what is not remeshed any more, if it has textures or gets them now, and subdivide it."""
    policy, names = targets.policy, list(model.template.index_at(path))
    if policy.unwrap:
        change = reunwrap(model, names, optimizer.moments, optimizer.variants, policy.texture_sides)
        model.restore(change.template, change.latents)
        optimizer.moments = change.moments
    mesh = model.vertex_mesh(path)
    if policy.subdivide and 4 * mesh.n_faces <= policy.most_faces:
        vertices = model.parametrization(path).value_of(model.latents[path])
        _change_mesh(model, optimizer, path, mesh.with_vertices(vertices), targets, subdivide_with_attributes)


Change: TypeAlias = Callable[[Mesh, dict[str, Tensor], Tensor, Tensor | None], RemeshedObject]
"""From a mesh, rows of its vertices, target lengths and labels of its faces to another mesh with all these."""


def _change_mesh(
    model: SceneModel, optimizer: FitOptimizer, path: str, mesh: Mesh, targets: TargetLengths, change: Change
) -> None:
    """Replace the mesh whose vertices are at `path`; fields, latents and moments are interpolated.

    Rows of a part of a surface are 0 at vertices that it does not have, and never mixed with these: lines between parts
    are seams, along which vertices move, and others get means of the vertices of their own faces.
    """
    template, latents, moments = model.template, model.latents, dict(optimizer.moments)
    items = {name: template.scene.objects[name] for name in template.index_at(path)}
    rows = {"drift": targets.drift}
    rows[f"speed {path}"], rows[f"root {path}"] = moments[path].rows()
    for name, index in template.index_at(path).items():
        for key, row in _rows_of_part(name, items[name], latents, moments).items():
            rows[key] = row.new_zeros(mesh.n_vertices, row.shape[1]).index_copy(0, index, row)
    joined = template.joined.get(path)
    found = change(mesh, rows, targets.lengths, None if joined is None else joined.part_of_face)

    new_latents, new_items = {other: latent.detach() for other, latent in latents.items()}, {}
    parts = split_parts(found, items)
    for name, item in items.items():
        own = {key: row[parts[name].vertex] for key, row in found.rows.items()}
        fields = {}
        for field in vertex_fields_of(item.material, item.mesh.n_vertices):
            at = str(ParameterPath.material(name, field))
            fields[field] = own[f"field {at}"]
            if at in latents:
                new_latents[at] = own[f"latent {at}"]
                fields[field] = model.parametrization(at).value_of(new_latents[at])
                moments[at] = moments[at].with_rows(own[f"speed {at}"], own[f"root {at}"])
        new_items[name] = item.with_values(fields, parts[name].mesh)
    template = model.with_objects(template, new_items)
    whole = template.mesh_at(path)
    new_latents[path] = template.parametrizations[path].latent_of(whole.vertices)
    # The whole has its vertices in the order of its parts.
    order = torch.empty(whole.n_vertices, dtype=torch.int64, device=whole.faces.device)
    for name, index in template.index_at(path).items():
        order[index] = parts[name].vertex
    moments[path] = moments[path].with_rows(found.rows[f"speed {path}"][order], found.rows[f"root {path}"][order])
    model.restore(template, new_latents)
    optimizer.moments = moments
    targets.lengths, targets.drift = found.lengths[order], found.rows["drift"][order]


def _rows_of_part(
    name: str, item: Object, latents: Mapping[str, Tensor], moments: Mapping[str, AdamState]
) -> dict[str, Tensor]:
    """Return what an object has at its vertices: fields of its material, their latents and moments."""
    rows = {}
    for field, value in vertex_fields_of(item.material, item.mesh.n_vertices).items():
        at = str(ParameterPath.material(name, field))
        rows[f"field {at}"] = value.detach()
        if at in latents:
            rows[f"latent {at}"] = latents[at].detach()
            rows[f"speed {at}"], rows[f"root {at}"] = moments[at].rows()
    return rows
