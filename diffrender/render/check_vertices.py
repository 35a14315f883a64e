"""Warn about vertices that are not finite, whose faces are missing in the image."""

from __future__ import annotations

import warnings
from weakref import WeakSet

from diffrender.derivatives import constant, without_derivatives
from diffrender.errors import NotFiniteWarning
from diffrender.list_sizes import is_kept
from diffrender.render.scene_triangles import SceneTriangles
from diffrender.scene.scene import Scene

_CHECKED: WeakSet[object] = WeakSet()


@without_derivatives()
def check_vertices(scene: Scene, geometry: SceneTriangles) -> None:
    """Warn if faces have vertices that are not finite; those that no face uses count nowhere.

    Done for each image on a CPU, once per tensor of faces elsewhere: it waits for the device.
    """
    identity = next(iter(scene.objects.values())).mesh.topology.identity
    if is_kept():
        return
    if geometry.verts_w.device.type != "cpu":
        if identity in _CHECKED:
            return
        _CHECKED.add(identity)
    if bool(constant(geometry.verts_w).sum().isfinite()):
        return
    for (name, item), vertices in zip(scene.objects.items(), geometry.verts_by_object, strict=True):
        is_missing = ~constant(vertices).isfinite().all(1)[item.mesh.faces].all(1)
        if bool(is_missing.any()):
            warnings.warn(
                f"render: {int(is_missing.sum())} of the {item.mesh.n_faces} faces of object {name!r} are not drawn:"
                f" they have vertices that are not finite, as the first, face {int(is_missing.nonzero()[0])}; look for"
                " the step, file or division that these come from",
                NotFiniteWarning,
                stacklevel=5,  # the caller of render, through torch.no_grad and on_kernel_threads
            )
