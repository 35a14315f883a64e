"""Warn about meshes some of whose faces are turned against their neighbours, as arrays from other programs may be."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from weakref import WeakSet

from diffrender.derivatives import on_plain_tensors
from diffrender.errors import OrientationWarning
from diffrender.list_sizes import is_kept
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene

_CHECKED: WeakSet[object] = WeakSet()


def check_orientation(scene: Scene, aovs: Sequence[str]) -> None:
    """Warn if faces that face different ways share normals that follow from them: these are nearly arbitrary.

    Done once per tensor of faces, where normals are seen, with the edges that rendering needs anyway. Flat shading and
    creases are right whatever way faces are turned.
    """
    for name, item in scene.objects.items():
        mesh = item.mesh
        is_lit = item.material.needs_light or "normal" in aovs
        if is_kept() or not is_lit or mesh.topology.identity in _CHECKED:
            continue
        _CHECKED.add(mesh.topology.identity)
        n_turned = _count_turned(mesh)
        if n_turned:
            warnings.warn(
                f"render: {n_turned} of the {mesh.n_faces} faces of object {name!r} face another way than most of their"
                " surface, so that their normals cancel; take `mesh.oriented()`, which turns them",
                OrientationWarning,
                stacklevel=5,  # the caller of render, through torch.no_grad and on_kernel_threads
            )


@on_plain_tensors()
def _count_turned(mesh: Mesh) -> int:
    """Return how many faces are turned, if any shares a normal with one that is not."""
    if mesh.normals is not None:
        return 0
    turned = mesh.find_turned()
    if not bool(turned.any()):
        return 0
    numbers = mesh.faces if mesh.normal_faces is None else mesh.normal_faces
    sides = numbers.new_zeros(2, mesh.n_normals)
    sides[turned.long()[:, None].expand(-1, 3), numbers] = 1
    return int(turned.sum()) if bool(sides.all(0).any()) else 0
