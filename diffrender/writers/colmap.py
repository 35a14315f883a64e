"""Cameras as a COLMAP model, for programs that begin with one: Gaussian splatting, multi-view stereo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffrender.checks import as_path, check_shape
from diffrender.errors import ShapeError
from diffrender.geometry.rotations import matrix_to_quaternion
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections import projection_name
from diffrender.scene.projections.perspective import Perspective
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.writers.atomic import write_text

GRAY = 128


def write_colmap(
    folder: str | Path,
    cameras: Cameras,
    names: Sequence[str],
    points_w: Tensor | None = None,
    colors: Tensor | None = None,
    boxes: Sequence[Sequence[int]] | None = None,
) -> None:
    """Write cameras.txt, images.txt and points3D.txt into `folder`, usually <capture>/sparse/0 beside <capture>/images.

    cameras: perspective ones, written as PINHOLE, or as OPENCV if distortion was learned; those of the same lens and
        size share an entry.
    names: one per camera, the paths of the photographs in the folder of images, with suffix and without spaces.
    points_w: [M, 3] points of the surface, such as vertices, with which splatting begins; None: there are none.
    colors: [M, 3] of the points, sRGB in 0..1; None: gray.
    boxes: as in `write_transforms`.

    World, axes and unit are those of the cameras: a mesh beside them fits. Points have no tracks, so that the files are
    no input of bundle adjustment. Source of the layout: COLMAP's documentation, "Output Format".
    Raises ShapeError for another projection or values that do not fit the cameras, DataError if a file cannot be
    written.

        dr.write_colmap("splat/sparse/0", views.cameras, [f"{name}.png" for name in views.names], mesh.vertices)
    """
    if not isinstance(cameras.projection, Perspective | RadialTangential):
        kind = type(cameras.projection).__name__.lower()
        raise ShapeError(f"write_colmap: cameras must be perspective, as those of COLMAP are, got {kind} ones")
    if len(names) != len(cameras):
        raise ShapeError(f"write_colmap: names must have one entry per camera ({len(cameras)}), got {len(names)}")
    spaced = next((name for name in names if any(letter.isspace() for letter in name)), None)
    if spaced is not None:
        raise ShapeError(
            f"write_colmap: names must not contain spaces, at which COLMAP ends a name in its text files, got"
            f" {spaced!r}; rename the photograph"
        )
    focal, center = (values.detach().double().cpu() for values in (cameras.focal_px, cameras.center_px))
    boxes = [(0, 0, cameras.height, cameras.width)] * len(cameras) if boxes is None else boxes
    lenses: dict[str, int] = {}
    images = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then POINTS2D[]"]
    pose = cameras.cam_from_world.detach().double().cpu()
    quaternion = matrix_to_quaternion(pose[:, :3, :3])
    model = projection_name(cameras.projection)
    coefficients = [values.detach().double().cpu() for values in cameras.projection.parameters().values()]
    for index, (name, (top, left, height, width)) in enumerate(zip(names, boxes, strict=True)):
        middle = center[index] - center.new_tensor([left, top])
        own = torch.cat([focal[index], middle, *(values[index : index + 1] for values in coefficients)])
        lens = f"{model} {width} {height} {_numbers(own)}"
        number = lenses.setdefault(lens, len(lenses) + 1)
        numbers = _numbers(torch.cat([quaternion[index], pose[index, :3, 3]]))
        images += [f"{index + 1} {numbers} {number} {name}", ""]
    folder = as_path("write_colmap", "folder", folder)
    _write(
        folder / "cameras.txt", ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]", *(f"{i} {x}" for x, i in lenses.items())]
    )
    _write(folder / "images.txt", images)
    _write(folder / "points3D.txt", _points(points_w, colors))


def _points(points_w: Tensor | None, colors: Tensor | None) -> list[str]:
    lines = ["# POINT3D_ID X Y Z R G B ERROR TRACK[]"]
    if points_w is None:
        return lines
    check_shape("write_colmap", "points_w", points_w, ("M", 3))
    rgb = torch.full(points_w.shape, GRAY)
    if colors is not None:
        check_shape("write_colmap", "colors", colors, tuple(points_w.shape))
        rgb = (255 * colors.detach().cpu().clamp(0, 1)).round().long()
    rows = zip(points_w.detach().double().tolist(), rgb.tolist(), strict=True)
    return lines + [" ".join(map(str, (i, *point, *color, 0))) for i, (point, color) in enumerate(rows, 1)]


def _numbers(values: Tensor) -> str:
    return " ".join(map(str, values.tolist()))


def _write(path: Path, lines: Sequence[str]) -> None:
    write_text(path, "\n".join([*lines, ""]))
