"""Captures whose cameras COLMAP found: a sparse model, the photographs, and masks if there are any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import quaternion_to_matrix
from diffrender.readers.captures.capture import Capture, CaptureOptions, CaptureReader, describe_path
from diffrender.readers.captures.colmap_entries import ImageEntry
from diffrender.readers.captures.colmap_model import ColmapModel, is_model, read_model
from diffrender.readers.captures.colmap_pictures import ColmapPictures, find_masks, find_pictures
from diffrender.readers.captures.colmap_points import read_points
from diffrender.readers.captures.colmap_text import count_stated_images
from diffrender.readers.captures.posed_capture import read_posed_capture
from diffrender.readers.captures.posed_image import PosedImage
from diffrender.readers.captures.problems import problems_error
from diffrender.readers.captures.resized import fit_lens
from diffrender.scene.target_views import Views

# Where models are, below the folder that is named; there may be several, 0, 1, ..., in each.
MODEL_FOLDERS = ("", "sparse", "colmap/sparse", "distorted/sparse", "dense/sparse", "dense/0/sparse")
# A mask of the object is seldom whiter than this; one of what to leave out is.
MOSTLY_WHITE = 0.8
MODEL_FILES = {f"{kind}.{suffix}" for kind in ("cameras", "images", "points3D") for suffix in ("bin", "txt")}
UNUSED = "poses_bounds.npy"


def read_colmap(path: str | Path, options: CaptureOptions | None = None) -> Capture:
    """Read the photographs and cameras of a COLMAP model, .bin or .txt, of COLMAP 3 or 4.

    path: a folder with the model's files, or one of them; or a folder with sparse/0, sparse, or others of
        MODEL_FOLDERS; of several models the one with the most images is read. The photographs are in `images` beside
        it, or else in `input`, images_2, ...; for images of another size, but of its camera's shape, the lens is
        scaled. Masks, white on the object, are in `masks`, named <name>.<suffix>, <name> or <stem>.<suffix>.
    options: resolution, background, masks; if omitted, those of CaptureOptions().

    The world is COLMAP's, whose unit and axes are arbitrary, and so are the object's place and size in it; the capture
    has the points of points3D, and no aabb. COLMAP ignores marks of the camera (EXIF) that an image is to be turned,
    so images are taken as stored if that is their camera's size, or else turned.
    Raises one DataError with everything that is wrong.
    """
    path, options, notes = _folder_of(Path(path)), options or CaptureOptions(), []
    model, pictures = _choose(path, notes)
    if (path / UNUSED).is_file():
        notes.append(f"its {UNUSED} is not used: the cameras are those of COLMAP")
    notes += [*_note_cut_short(model), *pictures.notes()]
    masks = find_masks(pictures, [image.name for image in model.images]) if options.use_masks else {}
    problems: list[str] = []
    resized: list[str] = []
    frames = [_frame(image, model, pictures, masks.get(image.name), problems, resized) for image in model.images]
    if problems:
        raise problems_error(model.images_file, problems, len(frames))
    if resized:
        notes.append(
            f"{len(resized)} of its {len(frames)} images have another size than their cameras ({resized[0]}): focal"
            " lengths and principal points are scaled"
        )
    capture = read_posed_capture(model.images_file, frames, options, notes)
    points, told = read_points(model.images_file.parent, model.images_file.suffix)
    near = None if points is None else torch.from_numpy(points - capture.origin).float()
    return replace(capture, points=near, notes=(*capture.notes, *told, *_about_masks(len(masks), capture.views)))


def _note_cut_short(model: ColmapModel) -> list[str]:
    """Return a note if a text file says that it holds more images than there are."""
    stated = count_stated_images(model.images_file) if model.images_file.suffix == ".txt" else None
    if stated is None or stated <= len(model.images):
        return []
    return [
        f"its {model.images_file.name} says that it holds {stated} images, but {len(model.images)} are in it: it may be"
        " cut short"
    ]


def _choose(path: Path, notes: list[str]) -> tuple[ColmapModel, ColmapPictures]:
    """Return the first model whose photographs exist, and these; adds to `notes`. Raises DataError if there is none."""
    places = _model_folders(path)
    if not places:
        raise DataError(f"{path}: {describe_path(path)}; it must be {READER.accepts}")
    first_error = None
    for folders in places:
        models = [read_model(folder) for folder in folders]
        model = max(models, key=lambda model: len(model.images))  # the first of them
        try:
            pictures = find_pictures(path, model)
        except DataError as error:
            first_error = first_error or error
            continue
        if len(models) > 1:
            counts = ", ".join(f"{_below(path, each)} with {len(each.images)} images" for each in models)
            notes.append(f"its model {_below(path, model)} is used, which has the most images; there are {counts}")
        if first_error is not None:
            notes.append(f"its model {_below(path, model)} is used, as there are no images of another: {first_error}")
        return model, pictures
    llff = path / UNUSED
    remedy = f", or name {llff} to read LLFF's cameras instead" if llff.is_file() else ""
    raise DataError(f"{first_error}{remedy}")


def _model_folders(path: Path) -> list[list[Path]]:
    """Return the folders of the models that `path` may mean, by the places where there are any."""
    places = []
    for below in MODEL_FOLDERS:
        folder = path / below
        if is_model(folder):
            places.append([folder])
            continue
        numbered = [entry for entry in folder.iterdir() if entry.name.isdecimal()] if folder.is_dir() else []
        models = [entry for entry in sorted(numbered, key=lambda entry: int(entry.name)) if is_model(entry)]
        if models:
            places.append(models)
    return places


def _below(path: Path, model: ColmapModel) -> str:
    return model.images_file.parent.relative_to(path).as_posix()


def _about_masks(n_masks: int, views: Views) -> list[str]:
    """Return a note on what masks are taken for, since COLMAP's own say something else."""
    if not n_masks:
        return []
    masks = torch.ones(1) if views.masks is None else views.masks
    known = torch.ones_like(masks) if views.masks is None or views.weights is None else views.weights
    white = float((masks * known).sum() / known.sum())
    doubt = f", and they are white in {white:.0%} of the images: are they for that?" if white > MOSTLY_WHITE else ""
    return [
        f"its {n_masks} masks are taken for the object: white is the object; what to leave out goes to"
        f" targets.ignore{doubt}"
    ]


def _frame(
    image: ImageEntry,
    model: ColmapModel,
    pictures: ColmapPictures,
    mask: Path | None,
    problems: list[str],
    resized: list[str],
) -> PosedImage:
    """Return an image; `problems` gets what is wrong with it, and `resized` its size if it is not its camera's."""
    camera = model.cameras[image.camera]
    place = f"image {image.number} ({image.name})"
    file = pictures.file(image.name)
    fitted = fit_lens(file, camera.width, camera.height, model.intrinsics(image))
    size = fitted.size or (camera.width, camera.height)
    sizes = f"{size[0]} x {size[1]} (width x height)", f"{camera.width} x {camera.height}"
    if fitted.is_unfit():
        problems.append(
            f"{place}: {file}: is {sizes[0]}, but its camera {camera.number} was found for images of {sizes[1]}, of"
            " another shape; give the images that COLMAP saw"
        )
    elif size != (camera.width, camera.height):
        resized.append(f"{sizes[0]} and not {sizes[1]}")
    return PosedImage(
        name=image.name,
        place=place,
        image_path=file,
        mask_path=mask,
        cam_from_world=_cam_from_world(image),
        intrinsics=fitted.lens,
        stated_width=size[0],
        stated_height=size[1],
        turn=fitted.turn,
    )


def _cam_from_world(image: ImageEntry) -> Tensor:
    rotation = quaternion_to_matrix(torch.tensor(image.quaternion, dtype=torch.float64))
    return make_rigid(rotation, torch.tensor(image.translation, dtype=torch.float64))


def _folder_of(path: Path) -> Path:
    """Return the folder of a model of which one file is named."""
    return path.parent if path.name in MODEL_FILES and is_model(path.parent) else path


def _claims(path: Path) -> bool:
    return bool(_model_folders(_folder_of(path)))


READER = CaptureReader(
    "a folder with a COLMAP model (sparse/0 with cameras.bin and images.bin, or .txt) beside its images",
    _claims,
    read_colmap,
)
