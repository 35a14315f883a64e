"""Fill the texels of learned textures that no view shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor

from diffrender.render.render import RenderViews
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.scene import Scene
from diffrender.scene.textures.bake import complete_texture
from diffrender.scene.textures.texel_to_surface import covered_texels
from diffrender.scene.textures.texture import Texture

# A texel whose weight in the images is below this share of the mean weight was hardly learned.
HARDLY_SEEN = 0.01


def fill_unseen_texels(
    scene: Scene, cameras: Cameras, paths: Iterable[str], render_views: RenderViews, weights: Tensor | None = None
) -> Scene:
    """Fill the learned textures of `scene` where none of `cameras` sees them, on the surface and in the gutters.

    paths: canonical paths of the learned values; those that are not textures are skipped. Seen texels do not change.
    weights: [N, H, W] of the pixels of the views; what is seen only where they are 0 was not learned. None: all count.
    """
    objects = dict(scene.objects)
    for path in paths:
        parts = ParameterPath.parse(path)
        if parts.part != "material":
            continue
        item = objects[parts.name]
        texture = getattr(item.material, parts.field)
        if not isinstance(texture, Texture) or item.mesh.uvs is None:
            continue
        seen = find_seen_texels(scene, parts.name, texture, cameras, render_views, weights)
        objects[parts.name] = item.with_values({parts.field: complete_texture(item.mesh, texture, seen)})
    return dataclasses.replace(scene, objects=objects)


def find_seen_texels(
    scene: Scene, name: str, texture: Texture, cameras: Cameras, render_views: RenderViews,
    weights: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return a mask [H, W] of the texels of a texture on the object `name` that contribute to images of `cameras`.

    It is computed from the gradient of the images with respect to the texels, so that occlusion, filtering and mip
    levels are as in the fit. All cameras count equally, whatever their exposure.
    """
    texels = torch.zeros_like(texture.texels[:, :, :1]).requires_grad_()
    item = scene.objects[name]
    shown = Unlit(dataclasses.replace(texture, texels=texels.expand(-1, -1, 3)))
    objects = {other_name: _make_black_and_constant(other) for other_name, other in scene.objects.items()}
    objects[name] = dataclasses.replace(objects[name], material=shown)
    stage = Scene(objects, {}, torch.zeros_like(scene.background), motion=scene.motion)
    weight = torch.zeros_like(texels.detach())
    cameras = cameras.without_gains()
    with torch.enable_grad():
        for view in range(len(cameras)):
            image = render_views(stage, cameras.select([view])).rgba
            if image.requires_grad:  # otherwise the object is out of view
                shares = image[0, ..., 0] if weights is None else image[0, ..., 0] * weights[view]
                weight += torch.autograd.grad(shares.sum(), texels)[0]
    weight = weight[:, :, 0]
    usual = weight[weight > 0].mean() if bool((weight > 0).any()) else weight.new_ones(())
    return (weight > HARDLY_SEEN * usual) & _find_filtered_texels(item.mesh, texture)


def _find_filtered_texels(mesh: Mesh, texture: Texture) -> Tensor:
    """Return a mask [H, W] of the texels that bilinear filtering reads for points of the mesh."""
    covered = covered_texels(mesh, *texture.texels.shape[:2])
    return torch.nn.functional.max_pool2d(covered[None, None].float(), 3, 1, 1)[0, 0] > 0


def _make_black_and_constant(item: Object) -> Object:
    black = Unlit(item.mesh.vertices.new_zeros(3))
    mesh = item.mesh.with_vertices(item.mesh.vertices.detach())
    return Object(mesh, black, item.pose.detach(), item.scale.detach())
