"""The content of a mesh file, as every mesh reader gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texture import Texture
from diffrender.scene.textures.transfer import transfer_normal_map, transfer_texture


@dataclass(frozen=True)
class Finish:
    """What a file says of a whole surface besides its colour and textures.

    metallic, roughness: in 0..1. emissive: linear RGB, or None. specular: whether a dielectric reflects at its
    boundary. unlit: the colour is shown as it is, without lights.
    """

    metallic: float = 0.0
    roughness: float = 1.0
    emissive: tuple[float, float, float] | None = None
    specular: bool = True
    unlit: bool = False


@dataclass(frozen=True)
class MeshData:
    """The content of a mesh file.

    mesh: its triangles, all objects joined; equal positions are one vertex.
    vertex_colors: [V, 3] linear RGB, or None.
    texture: its one colour texture, linear RGB, or None.
    texture_note: why there is no texture although the file names one, for messages; else None.
    maps: its other textures, where all parts share one. "metallic_roughness": [H, W, 3] in 0..1, roughness in green
        and metallic in blue. "normal": [H, W, 3] in -1..1, x along u, y against v (up in the picture), z outwards.
        "emissive": [H, W, 3] linear RGB.
    finish: what is uniform where there is no such texture, if all parts agree; else plainly diffuse.
    notes: what else of the file is changed, blended or not read, each a sentence about "its ..." without a full stop.
    """

    mesh: Mesh
    vertex_colors: Tensor | None
    texture: Texture | None
    texture_note: str | None = None
    maps: Mapping[str, Texture] = field(default_factory=dict)
    finish: Finish = field(default_factory=Finish)
    notes: tuple[str, ...] = ()

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, and why there is no texture."""
        return self.notes if self.texture_note is None else (*self.notes, self.texture_note)


def with_mesh(data: MeshData, mesh: Mesh, resolution: int | None = None) -> MeshData:
    """Replace the mesh by one of the same surface, for example with other texture coordinates; transfer all textures.

    resolution: side of the new textures in texels; if omitted, each keeps its height.
    Vertex colours are kept as they are: they stay valid where vertices do.
    """

    def transferred(name: str, texture: Texture) -> Texture:
        transfer = transfer_normal_map if name == "normal" else transfer_texture
        return transfer(texture, data.mesh, mesh, resolution)

    texture = None if data.texture is None else transferred("base_color", data.texture)
    maps = {name: transferred(name, each) for name, each in data.maps.items()}
    return replace(data, mesh=mesh, texture=texture, maps=maps)
