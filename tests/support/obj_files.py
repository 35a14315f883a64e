"""OBJ files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from diffrender.readers.mesh_data import MeshData
from diffrender.readers.meshes.read_mesh import read_mesh

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
FACE = "f 1/1 2/2 3/3 4/4\n"


def written(folder: Path, text: str, encoding: str = "utf-8", **libraries: str) -> MeshData:
    """libraries: name without suffix -> text; all pictures that are named exist, 2 x 2 and red."""
    for name, content in libraries.items():
        (folder / f"{name.replace('_', ' ')}.mtl").write_text(content, encoding=encoding)
    (folder / "textures").mkdir(exist_ok=True)
    for picture in ("wood.png", "my wood.png"):
        for place in (folder, folder / "textures"):
            Image.fromarray(np.full((2, 2, 3), (255, 0, 0), np.uint8)).save(place / picture)
    (folder / "a.obj").write_text(text, encoding=encoding)
    return read_mesh(folder / "a.obj")
