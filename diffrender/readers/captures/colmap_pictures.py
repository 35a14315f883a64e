"""Where the photographs and masks of a COLMAP model are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffrender.errors import DataError
from diffrender.readers.captures.capture import describe_path
from diffrender.readers.captures.colmap_model import ColmapModel
from diffrender.readers.captures.picture_files import PICTURE_SUFFIXES, PictureFolder, shrunk_folders, some
from diffrender.readers.images.image import stored_and_turned_size

# Photographs are at most so many folders above the model, and there in one of these, or in images_2, images_4, ...
FOLDERS_ABOVE = 3
IMAGE_FOLDERS = ("images", "", "input")
# In 3DGS's folders the model that is below this is of `input`; `images` are undistorted.
OF_INPUT = "distorted"


@dataclass(frozen=True)
class ColmapPictures:
    """The folder with the photographs of a model, and the files of those that exist, by the names of its images."""

    folder: Path
    files: dict[str, Path]

    def file(self, name: str) -> Path:
        """Return the file of an image, where it should be if there is none."""
        return self.files.get(name, self.folder / name)

    def notes(self) -> list[str]:
        """Return notes on files whose names are not those of the model, and on pictures beside them that it lacks."""
        notes = []
        other = [(name, file) for name, file in self.files.items() if file != self.folder / name.replace("\\", "/")]
        if other:
            name, file = other[0]
            found = file.relative_to(self.folder).as_posix()
            notes.append(f"{len(other)} of its images have other names than in the model, as {found} for {name}")
        known = set(self.files.values())
        beside = [entry for folder in sorted({file.parent for file in known}) for entry in sorted(folder.iterdir())]
        lost = [each.name for each in beside if each.suffix.lower() in PICTURE_SUFFIXES and each not in known]
        if lost:
            all_of_them = len(lost) + len(known)
            notes.append(
                f"{len(lost)} of the {all_of_them} pictures in its folders have no camera in the model: {some(lost)}"
            )
        return notes


def find_pictures(root: Path, model: ColmapModel) -> ColmapPictures:
    """Return the photographs of a model: of all places the one with the most, the nearest to the model, full size.

    root: what the user named. Raises DataError if no place holds any.
    """
    start = Path(os.path.abspath(model.images_file.parent))
    best, looked = None, []
    for base in (start, *start.parents)[: FOLDERS_ABOVE + 1]:
        kinds = sorted(IMAGE_FOLDERS, key=lambda kind: kind != "input") if OF_INPUT in start.parts else IMAGE_FOLDERS
        places = [place for place in (*(base / kind for kind in kinds), *shrunk_folders(base)) if place.is_dir()]
        looked += places
        here = [found for place in places if (found := _look(place, model)).files]
        if here:
            most = max(here, key=lambda found: (len(found.files), _is_full_size(found, model)))
            if best is None or len(most.files) > len(best.files):
                best = most
    if best is None:
        names = some([image.name for image in model.images])
        raise DataError(
            f"{model.images_file}: none of its {len(model.images)} images ({names}) is in"
            f" {', '.join(str(folder) for folder in looked)}; put the photographs into {root / 'images'}"
        )
    return best


def _look(place: Path, model: ColmapModel) -> ColmapPictures:
    """Return the images that are in a folder; a file of another name is that of one image at most."""
    folder = PictureFolder(place)
    names = [image.name for image in model.images]
    files = {name: file for name in names if (file := folder.find(name)) is not None}
    for name in names:
        if name not in files:
            file = folder.find_picture(os.path.splitext(name)[0])
            if file is not None:
                files[name] = file
    exact = {place / name.replace("\\", "/") for name in files}
    taken: set[Path] = set()
    unique = {}
    for name, file in files.items():
        is_own = file == place / name.replace("\\", "/")
        if is_own or file not in exact | taken:
            unique[name] = file
            taken.add(file)
    return ColmapPictures(place, unique)


def _is_full_size(found: ColmapPictures, model: ColmapModel) -> bool:
    """Return whether the first image has the size of its camera."""
    image = next(image for image in model.images if image.name in found.files)
    camera = model.cameras[image.camera]
    return (camera.width, camera.height) in (stored_and_turned_size(found.files[image.name]) or ())


def find_masks(pictures: ColmapPictures, names: Sequence[str]) -> dict[str, Path]:
    """Return the mask files of the images that have one, by the names of the images.

    Raises DataError if there is a folder of masks, and none of them is named as an image.
    """
    shrunk = pictures.folder.name.removeprefix("images") if pictures.folder.name.startswith("images_") else ""
    above = pictures.folder.parent
    places = (above / f"masks{shrunk}", pictures.folder / "masks", above / "masks")
    place = next((place for place in places if place.is_dir()), None)
    if place is None:
        return {}
    folder = PictureFolder(place)
    found = {name: file for name in names if (file := folder.find_companion(name)) is not None}
    if not found:
        raise DataError(
            f"{place}: {describe_path(place)}; none of its files is named as an image, as {names[0]}.png would be;"
            " rename the masks, move the folder away, or say `masks: false` of the targets"
        )
    return found
