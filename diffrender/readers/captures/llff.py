"""Captures in the format of LLFF: poses_bounds.npy, and photographs whose order is that of their names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from diffrender.errors import DataError, ShapeError
from diffrender.geometry.camera_axes import to_opencv_axes
from diffrender.geometry.rigid import invert_rigid
from diffrender.readers.captures.array_files import read_arrays
from diffrender.readers.captures.capture import Capture, CaptureOptions, CaptureReader
from diffrender.readers.captures.picture_files import PICTURE_SUFFIXES, shrunk_folders
from diffrender.readers.captures.posed_capture import read_posed_capture
from diffrender.readers.captures.posed_image import Intrinsics, PosedImage
from diffrender.readers.captures.poses import note_rounding, rigid_pose
from diffrender.readers.captures.problems import problems_error
from diffrender.readers.captures.resized import fit_lens

FILE_NAME = "poses_bounds.npy"


def read_llff(path: str | Path, options: CaptureOptions | None = None) -> Capture:
    """Read the photographs and cameras of poses_bounds.npy, or of the folder that holds it.

    Each row is a matrix [3, 5] and the nearest and farthest depth, which are not used. The matrix takes the camera to
    the world, with the axes down, right, backwards; its last column is the height and width of the images and the focal
    length in pixels. The principal point is the middle. Row i belongs to the i-th image by name in `images`, or else in
    the first of images_2, images_4, ...; for images of another size the focal length is scaled.
    Raises one DataError with everything that is wrong.
    """
    path, options = Path(path), options or CaptureOptions()
    file = path / FILE_NAME if path.is_dir() else path
    rows = read_arrays(file).get("")
    if rows is None or rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "fiu" or not len(rows):
        got = "several arrays" if rows is None else f"{rows.dtype} {list(rows.shape)}"
        raise DataError(f"{file}: must be numbers [N, 17]: 3 x 5 of a pose and two depths for each image, got {got}")
    images = _images(file, len(rows))
    matrices = torch.from_numpy(rows[:, :15].astype("float64")).reshape(-1, 3, 5)
    problems: list[str] = []
    read = [_frame(image, index, matrices[index], problems) for index, image in enumerate(images)]
    frames = [frame for frame in read if frame is not None]
    if problems:
        raise problems_error(file, problems, len(rows))
    notes = note_rounding(list(matrices[:, :, :4]), "poses")
    notes.append("its nearest and farthest depths are not used")
    return read_posed_capture(file, frames, options, notes)


def _images(file: Path, n_poses: int) -> Sequence[Path]:
    """Return the images in the order of their names. Raises DataError if they are not as many as the poses."""
    folders = [file.parent / "images", *shrunk_folders(file.parent)]
    found = {
        folder: sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in PICTURE_SUFFIXES)
        for folder in folders
        if folder.is_dir()
    }
    for images in found.values():
        if len(images) == n_poses:
            return images
    counts = ", ".join(f"{folder.name} has {len(images)}" for folder, images in found.items()) or "there is none"
    raise DataError(
        f"{file}: has {n_poses} poses, one for each image in `images` or images_2, ..., but {counts}; LLFF leaves out"
        " images without a pose: remove them from the folder (view_imgs.txt, if there is one, names those with a pose)"
    )


def _frame(image: Path, index: int, matrix: torch.Tensor, problems: list[str]) -> PosedImage | None:
    place = f"row {index} ({image.parent.name}/{image.name})"
    height, width, focal = matrix[:, 4].tolist()
    if not all(math.isfinite(value) and value > 0 for value in (height, width, focal)):
        found = f"{height}, {width}, {focal}"
        problems.append(
            f"{place}: height, width and focal length must be above 0, got {found}; make the file from its cameras anew"
        )
        return None
    try:
        world_from_cam = rigid_pose("its pose", matrix[:, :4])
    except ShapeError as error:
        problems.append(f"{place}: {str(error).removeprefix(': ')}")
        return None
    fitted = fit_lens(image, width, height, Intrinsics(focal_x_px=focal, focal_y_px=focal))
    if fitted.size is not None and fitted.is_unfit():
        problems.append(
            f"{place}: {image}: is {fitted.size[0]} x {fitted.size[1]} (width x height), which is of another shape than"
            f" the {width:g} x {height:g} of its pose; give the images that the poses were found for"
        )
        return None
    return PosedImage(
        name=f"{image.parent.name}/{image.name}",
        place=place,
        image_path=image,
        mask_path=None,
        cam_from_world=to_opencv_axes(invert_rigid(world_from_cam), "llff"),
        intrinsics=fitted.lens,
        turn=fitted.turn,
    )


def _claims(path: Path) -> bool:
    return path.name == FILE_NAME or (path / FILE_NAME).is_file()


READER = CaptureReader(f"a folder with LLFF's {FILE_NAME} beside its images", _claims, read_llff)
