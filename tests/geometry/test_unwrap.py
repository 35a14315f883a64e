from __future__ import annotations

import time
import weakref

import numpy as np
import pytest
import torch
import xatlas
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import Triangles, box, bumpy_sphere, torus
from diffrender.geometry.unwrap import REST_SECONDS, UvLayout, default_padding, unwrap
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texel_to_surface import texel_map

MESHES = {"bumpy": bumpy_sphere(3), "torus": torus(0.7, 0.3, 24, 12), "box": box()}
every_mesh = pytest.mark.parametrize("name", MESHES)
whole_or_in_pieces = pytest.mark.parametrize("piece", [None, 100])


@pytest.fixture(autouse=True)
def largest_piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut meshes into pieces of at most so many faces, where a test asks for it."""
    piece = getattr(request.node, "callspec", None) and request.node.callspec.params.get("piece")
    if piece:
        monkeypatch.setattr("diffrender.geometry.unwrap.SPLIT_FROM", 200)
        monkeypatch.setattr("diffrender.geometry.unwrap.PIECE", piece)


def charts_of(layout: UvLayout) -> np.ndarray:
    """Return the chart number [F] of each face."""
    ends = layout.uv_faces[:, [0, 1, 1, 2]].reshape(-1, 2).numpy()
    size = len(layout.uvs)
    links = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (size, size))
    return connected_components(links)[1][layout.uv_faces[:, 0].numpy()]


def areas(corners: Tensor) -> Tensor:
    """Return the areas [F] of triangles [F, 3, 2 or 3]."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * ((a * a).sum(1) * (b * b).sum(1) - (a * b).sum(1) ** 2).clamp_min(0).sqrt()


@every_mesh
@whole_or_in_pieces
@pytest.mark.parametrize("resolution", [64, 256])
def test_charts_are_apart_in_the_unit_square(name: str, resolution: int, piece: int | None) -> None:
    vertices, faces = MESHES[name]
    layout = unwrap(vertices, faces, resolution)
    assert layout.uv_faces.shape == faces.shape and layout.uvs.dtype == vertices.dtype
    assert layout.uvs.min() >= 0 and layout.uvs.max() <= 1
    texels_of = texel_map(Mesh(vertices, faces, layout.uvs, layout.uv_faces), resolution, resolution)
    assert texels_of.covered.float().mean() > (0.35 if resolution == 256 else 0.2)
    chart = np.full((resolution, resolution), -1)
    chart[texels_of.covered.numpy()] = charts_of(layout)[texels_of.face_id.numpy()]
    for number in range(chart.max() + 1):
        if (chart == number).any():
            distance = distance_transform_edt(chart != number)
            others = distance[(chart >= 0) & (chart != number)]
            assert others.size == 0 or others.min() > default_padding(resolution)


@every_mesh
@whole_or_in_pieces
def test_no_two_faces_overlap_and_texels_have_one_size(name: str, piece: int | None) -> None:
    vertices, faces = MESHES[name]
    layout = unwrap(vertices, faces, 512)
    in_texture, on_surface = areas(layout.uvs[layout.uv_faces]), areas(vertices[faces])
    texels_of = texel_map(Mesh(vertices, faces, layout.uvs, layout.uv_faces), 512, 512)
    # The covered area equals that of all faces together, so none overlap.
    assert float(texels_of.covered.float().mean()) == pytest.approx(float(in_texture.sum()), rel=0.01)
    scale = in_texture / on_surface
    assert float(scale.quantile(0.05)) > 0.4 * float(scale.median())
    assert float(scale.quantile(0.95)) < 2.5 * float(scale.median())


def test_unwrapping_is_deterministic() -> None:
    vertices, faces = MESHES["bumpy"]
    first, again = unwrap(vertices, faces, 128), unwrap(vertices, faces, 128)
    assert torch.equal(first.uvs, again.uvs) and torch.equal(first.uv_faces, again.uv_faces)


@pytest.mark.parametrize("unit", [1e-5, 1e5])
def test_the_unit_of_the_mesh_does_not_matter(unit: float) -> None:
    vertices, faces = MESHES["torus"]
    layout = unwrap(vertices * unit + 3 * unit, faces, 128)
    expected = unwrap(vertices, faces, 128)
    assert areas(layout.uvs[layout.uv_faces]).min() > 0
    assert float(areas(layout.uvs[layout.uv_faces]).sum()) == pytest.approx(
        float(areas(expected.uvs[expected.uv_faces]).sum()), rel=0.2
    )


def test_large_meshes_are_cut_into_pieces_of_neighbouring_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffrender.geometry.unwrap.SPLIT_FROM", 1000)
    monkeypatch.setattr("diffrender.geometry.unwrap.PIECE", 100)
    vertices, faces = MESHES["bumpy"]  # 1,280 faces: sixteen of 80
    faces = faces[torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))]
    chart = charts_of(unwrap(vertices, faces, 256))
    assert np.bincount(chart).max() <= 80 and chart.max() >= 15
    # As they are near to each other, charts are hardly smaller than those of the whole.
    monkeypatch.undo()
    assert np.bincount(charts_of(unwrap(vertices, faces, 256))).max() > 80
    assert chart.max() < 60


def test_padding_is_as_requested() -> None:
    vertices, faces = MESHES["box"]
    layouts = [unwrap(vertices, faces, 128, padding) for padding in (0, 16)]
    narrow, wide = (areas(layout.uvs[layout.uv_faces]) for layout in layouts)
    assert float(wide.sum()) < 0.8 * float(narrow.sum())
    assert [default_padding(resolution) for resolution in (16, 256, 512, 2048)] == [2, 2, 4, 16]


def test_degenerate_and_tangled_meshes_are_unwrapped() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]])
    # Three faces at an edge, one without area, one duplicate.
    fan = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4], [1, 1, 2], [0, 1, 2]])
    layout = unwrap(vertices, fan, 64)
    assert layout.uv_faces.shape == (5, 3) and bool(layout.uvs.isfinite().all())
    point = unwrap(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), 64)
    assert bool(point.uvs.isfinite().all())


def test_mistakes_are_named() -> None:
    vertices, faces = MESHES["box"]
    for message, arguments in {
        "the mesh has no faces": (vertices, faces[:0], 64),
        "resolution must be at least 1": (vertices, faces, 0),
        "vertices must be finite": (vertices * torch.nan, faces, 64),
        r"faces must be in 0..2": (vertices[:3], faces, 64),
    }.items():
        with pytest.raises(ShapeError, match=f"unwrap: .*{message}"):
            unwrap(*arguments)
    with pytest.raises(ShapeError, match="texel_map: the mesh has no texture coordinates"):
        texel_map(Mesh(*Triangles(vertices, faces)), 8, 8)


def test_an_atlas_is_destroyed_when_its_threads_have_come_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, its destructor would now and then wait forever for one of them (see REST_SECONDS)."""
    made: list[weakref.ref[xatlas.Atlas]] = []

    def atlas_of() -> xatlas.Atlas:
        atlas = original()
        made.append(weakref.ref(atlas))
        return atlas

    original = xatlas.Atlas
    monkeypatch.setattr(xatlas, "Atlas", atlas_of)
    started = time.monotonic()
    unwrap(MESHES["box"].vertices, MESHES["box"].faces, 64)
    while made[0]() is not None:
        assert time.monotonic() < started + 60, "the atlas is never destroyed"
        time.sleep(0.01)
    assert time.monotonic() > started + REST_SECONDS
