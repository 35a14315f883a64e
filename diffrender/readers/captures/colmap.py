"""Captures whose cameras COLMAP found: a sparse model, the photographs, and masks if there are any."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import quaternion_to_matrix
from diffrender.readers.captures.capture import Capture, CaptureOptions, CaptureReader, describe_path
from diffrender.readers.captures.colmap_entries import CameraEntry, ImageEntry
from diffrender.readers.captures.colmap_model import ColmapModel, is_model, read_model
from diffrender.readers.captures.picture_turns import choose_turn
from diffrender.readers.captures.posed_capture import read_posed_capture
from diffrender.readers.captures.posed_images import PosedImage, problems_error, some

# Where models are, below the folder that is named; there may be several, 0, 1, ..., in each.
MODEL_FOLDERS = ("", "sparse", "colmap/sparse")
# Where photographs are, from the folder that is named and from that of the model.
IMAGE_FOLDERS = ("images", "", "../images", "../../images", "../../../images", "..")
UNUSED = "poses_bounds.npy"


def read_colmap(path: str | Path, options: CaptureOptions | None = None) -> Capture:
    """Read the photographs and cameras of a COLMAP model, .bin or .txt, of COLMAP 3 or 4.

    path: a folder with the model's files, or with sparse/0, sparse or colmap/sparse/0; of several models the one with
        the most images is read. The photographs are in `images` beside it, and masks, white on the object, in `masks`,
        named <name>.png, <name> or <stem>.png.
    options: resolution, background, masks; if omitted, those of CaptureOptions().

    The world is COLMAP's, whose unit and axes are arbitrary, and so are the object's place and size in it: points are
    not read, and the capture has no aabb. COLMAP ignores marks of the camera (EXIF) that an image is to be turned, so
    images are taken as stored if that is their camera's size, or else turned.
    Raises one DataError with everything that is wrong.
    """
    path, options, notes = Path(path), options or CaptureOptions(), []
    folders = _model_folders(path)
    if not folders:
        raise DataError(f"{path}: {describe_path(path)}; it must be {READER.accepts}")
    models = [read_model(folder) for folder in folders]
    model = max(models, key=lambda model: len(model.images))  # the first of them
    if len(models) > 1:
        counts = ", ".join(f"{_below(path, each)} with {len(each.images)} images" for each in models)
        notes.append(f"its model {_below(path, model)} is used, which has the most images; there are {counts}")
    if (path / UNUSED).is_file():
        notes.append(f"its {UNUSED} is not used: the cameras are those of COLMAP")
    images = _image_folder(path, model)
    masks = _masks(images, model) if options.use_masks else {}
    if options.use_masks and not masks and (folder := _mask_folder(images)) is not None:
        notes.append(f"no file in its {folder.name} has the name of an image, as {model.images[0].name}.png would have")
    problems: list[str] = []
    frames = [_frame(image, model, images, masks.get(image.name), problems) for image in model.images]
    if problems:
        raise problems_error(model.images_file, problems, len(frames))
    return read_posed_capture(model.images_file, frames, options, notes)


def _model_folders(path: Path) -> list[Path]:
    """Return the folders of the models that `path` means: all that are in the first place where there are any."""
    for below in MODEL_FOLDERS:
        folder = path / below
        if is_model(folder):
            return [folder]
        numbered = [entry for entry in folder.iterdir() if entry.name.isdecimal()] if folder.is_dir() else []
        models = [entry for entry in sorted(numbered, key=lambda entry: int(entry.name)) if is_model(entry)]
        if models:
            return models
    return []


def _below(path: Path, model: ColmapModel) -> str:
    return model.images_file.parent.relative_to(path).as_posix()


def _image_folder(path: Path, model: ColmapModel) -> Path:
    """Return the folder that holds the most of the model's images. Raises DataError if none holds any."""
    start = model.images_file.parent
    places = [root / below for root in (path, start) for below in IMAGE_FOLDERS]
    folders = {Path(os.path.normpath(os.path.abspath(place))): None for place in places if place.is_dir()}
    counts = {folder: sum(os.path.isfile(folder / image.name) for image in model.images) for folder in folders}
    best = max(counts, key=lambda folder: counts[folder])
    if not counts[best]:
        names = some([image.name for image in model.images])
        raise DataError(
            f"{model.images_file}: none of its {len(model.images)} images ({names}) is in"
            f" {', '.join(str(folder) for folder in folders)}; put the photographs into {path / 'images'}"
        )
    return best


def _mask_folder(images: Path) -> Path | None:
    return next((place for place in (images / "masks", images.parent / "masks") if place.is_dir()), None)


def _masks(images: Path, model: ColmapModel) -> dict[str, Path]:
    """Return the mask files of the images that have one, by the names of the images."""
    folder = _mask_folder(images)
    if folder is None:
        return {}
    found = {}
    for image in model.images:
        stem = Path(image.name).with_suffix(".png")
        candidates = (folder / f"{image.name}.png", folder / image.name, folder / stem)
        mask = next((file for file in candidates if os.path.isfile(file)), None)
        if mask is not None:
            found[image.name] = mask
    return found


def _frame(image: ImageEntry, model: ColmapModel, folder: Path, mask: Path | None, problems: list[str]) -> PosedImage:
    camera = model.cameras[image.camera]
    place = f"image {image.number} ({image.name})"
    file = folder / image.name
    return PosedImage(
        name=image.name,
        place=place,
        image_path=file,
        mask_path=mask,
        cam_from_world=_cam_from_world(image),
        intrinsics=model.intrinsics(image),
        stated_width=camera.width,
        stated_height=camera.height,
        turn=_turn(file, camera, place, problems),
    )


def _cam_from_world(image: ImageEntry) -> Tensor:
    rotation = quaternion_to_matrix(torch.tensor(image.quaternion, dtype=torch.float64))
    return make_rigid(rotation, torch.tensor(image.translation, dtype=torch.float64))


def _turn(file: Path, camera: CameraEntry, place: str, problems: list[str]) -> bool | None:
    """Return whether the image is to be turned to have its camera's size; an entry in `problems` if that is another."""
    turn, size = choose_turn(file, lambda width, height: (width, height) == (camera.width, camera.height))
    if size is not None and turn is None:
        problems.append(
            f"{place}: {file}: is {size[0]} x {size[1]} (width x height), but its camera {camera.number} was found for"
            f" images of {camera.width} x {camera.height}; give the images that COLMAP saw"
        )
    return turn


def _claims(path: Path) -> bool:
    return bool(_model_folders(path))


READER = CaptureReader(
    "a folder with a COLMAP model (sparse/0 with cameras.bin and images.bin, or .txt) beside its images",
    _claims,
    read_colmap,
)
