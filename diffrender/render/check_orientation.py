"""Warn about meshes some of whose faces are turned against their neighbours, as arrays from other programs may be."""

from __future__ import annotations

import warnings
from weakref import WeakSet

from diffrender.derivatives import on_plain_tensors
from diffrender.errors import OrientationWarning
from diffrender.scene.scene import Scene

_CHECKED: WeakSet[object] = WeakSet()


@on_plain_tensors()
def check_orientation(scene: Scene) -> None:
    """Warn if faces face another way than most of their surface, where normals follow from them.

    Done once per tensor of faces, with the edges that rendering needs anyway.
    """
    for name, item in scene.objects.items():
        mesh = item.mesh
        if mesh.normals is not None or mesh.topology.identity in _CHECKED:
            continue
        _CHECKED.add(mesh.topology.identity)
        n_turned = int(mesh.find_turned().sum())
        if n_turned:
            warnings.warn(
                f"render: {n_turned} of the {mesh.n_faces} faces of object {name!r} face another way than most of their"
                " surface, so that normals and silhouettes are wrong there; take `mesh.oriented()`, which turns them",
                OrientationWarning,
                stacklevel=5,  # the caller of render, through torch.no_grad and on_kernel_threads
            )
