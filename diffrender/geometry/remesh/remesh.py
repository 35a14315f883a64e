"""Isotropic remeshing to target edge lengths that also transfers vertex and corner attributes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_finite, check_float, check_indices_below, check_number, check_shape, check_type
from diffrender.errors import MeshError, ShapeError
from diffrender.geometry.remesh.constants import (
    COLLAPSED,
    FLIPPED,
    HIGH,
    LOW,
    MOVED,
    N_COUNTS,
    REFUSED_FEATURE,
    REFUSED_LONG,
    REFUSED_SLIVER,
    REFUSED_TOPOLOGY,
    REFUSED_TURN,
    SPLIT,
)

if TYPE_CHECKING:
    from diffrender.geometry.remesh.halfedges import HalfEdges

# More faces than this indicate a mistake in the target length.
MOST_FACES = 5_000_000
# Each round halves long edges, so no ratio of lengths needs as many rounds.
MOST_ROUNDS = 64
# Sweeps of flips per pass; the second makes a tenth of the flips of the first.
MOST_SWEEPS = 3


@dataclass(frozen=True)
class RemeshOptions:
    """Options of `remesh`.

    features_deg: edges whose two normals differ by more than this many degrees (0..180) are kept as feature lines:
        nothing is collapsed across them and they are not flipped. None: only boundaries and seams are kept.
    relax: fraction of the way that vertices slide towards the centre of their faces per pass, 0..1.
    most_faces: raise an error instead of making more faces than about this.
    split_up_to: no edge is split where more faces than this would result; None: all that are too long are.
    """

    features_deg: float | None = 60.0
    relax: float = 0.5
    most_faces: int = MOST_FACES
    split_up_to: int | None = None

    def __post_init__(self) -> None:
        if self.features_deg is not None and not 0 < self.features_deg <= 180:
            raise ShapeError(f"remesh: features_deg must be in 0..180 or None, got {self.features_deg}")
        if not 0 <= self.relax <= 1:
            raise ShapeError(f"remesh: relax must be in 0..1, got {self.relax}")


@dataclass(frozen=True)
class Edits:
    """Counts of the edits of a call of `remesh`, summed over its passes; an edge may be refused in each.

    splits, collapses, flips: edges. slides: vertices moved.
    refused_topology: collapses and flips that would have made the mesh non-manifold.
    refused_feature: those that would have moved a boundary, a seam or a sharp edge.
    refused_turn: those that would have turned a face by more than 60 degrees in space or inverted it in the texture.
    refused_sliver: those that would have made a sliver. refused_long: collapses that would have made an edge too long.
    """

    splits: int
    collapses: int
    flips: int
    slides: int
    refused_topology: int
    refused_feature: int
    refused_turn: int
    refused_sliver: int
    refused_long: int


@dataclass(frozen=True)
class Remeshed:
    """The result of `remesh`; vertices that remain keep their order, new ones follow.

    vertices: [V, 3]; faces: [F, 3] int64; attributes: [V, C]; corner_attributes: [F, 3, D] or None; with the dtypes of
        the input. target_length: [V], the target at each vertex.
    """

    vertices: Tensor
    faces: Tensor
    attributes: Tensor
    corner_attributes: Tensor | None
    target_length: Tensor
    edits: Edits


def remesh(
    vertices: Tensor,
    faces: Tensor,
    target_length: float | Tensor,
    attributes: Tensor | None = None,
    corner_attributes: Tensor | None = None,
    *,
    passes: int = 1,
    options: RemeshOptions | None = None,
) -> Remeshed:
    """Remesh a surface to triangles with edges of about `target_length`.

    A pass splits edges longer than 4/3 of the mean target of their ends, collapses those shorter than 4/5, flips edges
    towards six neighbours per vertex and slides vertices over the surface. One pass every few steps of a fit keeps a
    mesh in good shape; making an arbitrary mesh even takes about five. The mesh stays manifold, with the same number of
    components, holes and handles. Boundaries, seams (edges whose corner attributes differ between their faces) and
    sharp edges stay in place up to turns of less than 40 degrees; their corners stay exactly.

    vertices: [V, 3] float32 or float64 in any unit, on the CPU. The result omits vertices without a face.
    faces: [F, 3] int64, counter-clockwise; an orientable manifold, closed or open, with any number of components.
    target_length: positive, in the unit of vertices; one number or [V].
    attributes: [V, C] float, other vertex attributes. The position and the attributes of new and moved vertices use the
        same weights, so linear functions of the position stay exact. The weights of a sliding vertex are slightly
        negative on one side: clamp bounded attributes (colours, second moments of an optimiser) afterwards.
    corner_attributes: [F, 3, D] float; if D >= 2, the first two are texture coordinates, and edits that would invert a
        face in the texture are refused.
    passes: at least 1.
    Not differentiable. Computed in float64 on one thread: the same on every run.
    Raises MeshError for a mesh that is not manifold or would get too many faces, ShapeError for other shapes,
    non-finite values or indices out of range.
    Sources: M. Botsch and L. Kobbelt, "A remeshing approach to multiresolution modeling" (2004), section 4;
    W. Palfinger, "Continuous remeshing for inverse rendering" (2022).
    """
    options = RemeshOptions() if options is None else options
    check_type("remesh", "options", options, RemeshOptions)
    check_shape("remesh", "vertices", vertices, ("V", 3))
    attributes = vertices.new_zeros(len(vertices), 0) if attributes is None else attributes
    target = _check_target(vertices, faces, target_length, attributes, corner_attributes, passes)
    _check_size(vertices, faces, target, options.most_faces)
    counts = np.zeros(N_COUNTS, np.int64)
    halves = _build_halfedges(vertices, faces, target, attributes, corner_attributes, options)
    for _ in range(passes if len(faces) else 0):
        halves = _run_pass(halves, options, counts)
    return _build_result(halves, vertices, attributes, corner_attributes, counts)


def _check_target(
    vertices: Tensor,
    faces: Tensor,
    target_length: float | Tensor,
    attributes: Tensor,
    corner_attributes: Tensor | None,
    passes: int,
) -> Tensor:
    """Check all arguments and return the target length of each vertex, [V] float64."""
    check_shape("remesh", "faces", faces, ("F", 3))
    check_shape("remesh", "attributes", attributes, (len(vertices), "C"))
    if corner_attributes is not None:
        check_shape("remesh", "corner_attributes", corner_attributes, (len(faces), 3, "D"))
    floats = {"vertices": vertices, "attributes": attributes, "corner_attributes": corner_attributes}
    for name, value in floats.items():
        if value is not None:
            check_float("remesh", name, value)
            check_finite("remesh", name, value)
            if value.device.type != "cpu":
                raise ShapeError(f"remesh: {name} must be on the CPU, got {value.device}; move it with .cpu()")
    check_indices_below("remesh", "faces", faces, len(vertices), "the number of vertices")
    check_number("remesh", "passes", passes, whole=True)
    if passes < 1:
        raise ShapeError(f"remesh: passes must be at least 1, got {passes}")
    if isinstance(target_length, Tensor) and target_length.ndim:
        check_shape("remesh", "target_length", target_length, (len(vertices),))
        check_finite("remesh", "target_length", target_length)
        target = target_length.detach().double()
    else:
        check_number("remesh", "target_length", target_length)
        target = torch.full((len(vertices),), float(target_length), dtype=torch.float64)
    if not bool(((target > 0) & (target < math.inf)).all()):
        raise ShapeError(f"remesh: target_length must be positive and finite, got {float(target.min())}")
    return target


def _check_size(vertices: Tensor, faces: Tensor, target: Tensor, most_faces: int) -> None:
    """Raise if more than `most_faces` equilateral triangles with sides of the target length fit on the surface."""
    a, b, c = vertices.detach().double()[faces].unbind(1)
    area = torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a), dim=1) / 2
    expected = float((area / (math.sqrt(3) / 4 * target[faces].mean(1).square())).sum())
    if expected > most_faces:
        raise MeshError(
            f"remesh: target_length (mean {float(target.mean()):.3g}) would make about {expected:.3g} faces on a"
            f" surface of area {float(area.sum()):.3g}, more than most_faces = {most_faces}; use a longer target_length"
        )


def _build_halfedges(
    vertices: Tensor,
    faces: Tensor,
    target: Tensor,
    attributes: Tensor,
    corner_attributes: Tensor | None,
    options: RemeshOptions,
) -> HalfEdges:
    """Build the half-edges of a mesh; raise if it is not manifold."""
    from diffrender.geometry.remesh.halfedges import HalfEdges
    from diffrender.geometry.remesh.link_halfedges import link_twins, link_vertices, mark_edges

    n_vertices, n_faces = len(vertices), len(faces)
    _check_faces(faces)
    corner = faces.detach().reshape(-1).numpy().copy()
    faults, examples = np.zeros(4, np.int64), np.zeros((4, 2), np.int64)
    twin = np.empty(3 * n_faces, np.int64)
    link_twins(corner, n_vertices, twin, faults, examples)
    _raise_faults(faces, faults, examples)
    wedge = np.zeros((3 * n_faces, 0))
    if corner_attributes is not None:
        wedge = _copy_float64(corner_attributes.reshape(3 * n_faces, corner_attributes.shape[2]))
    halves = HalfEdges(
        corner, twin, np.zeros(3 * n_faces, np.uint8), wedge,
        np.empty(n_vertices, np.int64), np.empty(n_vertices, np.int64),
        _copy_float64(vertices), _copy_float64(attributes), _copy_float64(target),
        np.zeros(n_vertices, np.int64), np.array([n_vertices, n_faces, 0]),
    )  # fmt: skip
    link_vertices(halves, n_vertices, faults, examples)
    _raise_faults(faces, faults, examples)
    mark_edges(halves, _cos_feature(options))
    return halves


def _copy_float64(tensor: Tensor) -> np.ndarray:
    """Return a float64 copy."""
    return np.array(tensor.detach().numpy(), np.float64, order="C")


def _cos_feature(options: RemeshOptions) -> float:
    """Return the cosine of the normals below which an edge is a feature; -2, below any cosine, disables features."""
    return -2.0 if options.features_deg is None else math.cos(math.radians(options.features_deg))


def _check_faces(faces: Tensor) -> None:
    a, b, c = faces.unbind(1)
    bad = ((a == b) | (b == c) | (c == a)).nonzero()[:, 0]
    if len(bad):
        raise MeshError(
            f"remesh: faces must have three different corners, got face {int(bad[0])} = {faces[bad[0]].tolist()}"
            f" ({len(bad)} such faces in total); remove them"
        )


def _raise_faults(faces: Tensor, faults: np.ndarray, examples: np.ndarray) -> None:
    """Raise for the first kind of fault that occurred."""
    from diffrender.geometry.remesh.link_halfedges import PINCHED, SAME_DIRECTION, SAME_FACE, THIRD_FACE

    reasons = {
        THIRD_FACE: (
            "edges must have at most two faces",
            "edges with a third face",
            "remove the interior or duplicate faces",
        ),
        SAME_DIRECTION: (
            "faces must be consistently oriented and occur once",
            "edges that two faces run along in the same direction",
            "reverse or remove one of them (trimesh.repair.fix_winding orients a mesh)",
        ),
        SAME_FACE: ("faces must differ", "pairs of faces with the same three corners", "remove both"),
    }
    for fault, (rule, found, remedy) in reasons.items():
        if faults[fault]:
            first, second = int(examples[fault, 0]), int(examples[fault, 1])
            raise MeshError(
                f"remesh: {rule}, got {int(faults[fault])} {found}, the first at faces {first} ="
                f" {faces[first].tolist()} and {second} = {faces[second].tolist()}; {remedy}"
            )
    if faults[PINCHED]:
        raise MeshError(
            f"remesh: the faces at a vertex must be connected by edges, got {int(faults[PINCHED])} vertices where"
            f" parts of the surface only touch, the first is vertex {int(examples[PINCHED, 0])}; give each part a copy"
            " of the vertex"
        )


def _run_pass(halves: HalfEdges, options: RemeshOptions, counts: np.ndarray) -> HalfEdges:
    """Run a pass: split, collapse, flip, slide."""
    from diffrender.geometry.remesh.collapse import collapse_edges, find_short_edges
    from diffrender.geometry.remesh.flip import flip_edges
    from diffrender.geometry.remesh.relax import relax_vertices
    from diffrender.geometry.remesh.split import find_long_edges, split_edges

    n_faces = int((halves.corner[: 3 * halves.used[1] : 3] >= 0).sum())
    for _ in range(MOST_ROUNDS):
        edges = find_long_edges(halves, HIGH)
        if options.split_up_to is not None:
            # The longest first; a split makes at most two faces.
            edges = edges[: max(0, (options.split_up_to - n_faces) // 2)]
        if not len(edges):
            break
        halves = _grow(halves, len(edges))
        n_splits = split_edges(halves, edges)
        counts[SPLIT] += n_splits
        n_faces += 2 * n_splits
    collapse_edges(halves, find_short_edges(halves, LOW), LOW, HIGH, counts)
    for _ in range(MOST_SWEEPS):
        if not flip_edges(halves, _cos_feature(options), counts):
            break
    if options.relax > 0:
        relax_vertices(halves, options.relax, counts)
    return halves


def _grow(halves: HalfEdges, n_splits: int) -> HalfEdges:
    """Return the half-edges with room for `n_splits` more splits, each of one vertex and two faces."""
    n_vertices, n_faces = int(halves.used[0]) + n_splits, int(halves.used[1]) + 2 * n_splits
    if n_vertices <= len(halves.start) and 3 * n_faces <= len(halves.corner):
        return halves

    def longer(array: np.ndarray, length: int) -> np.ndarray:
        room = np.empty((length, *array.shape[1:]), array.dtype)
        room[: len(array)] = array
        return room

    # By half as much again, so that a mesh that grows in many rounds is copied only a few times.
    n_vertices, n_faces = n_vertices * 3 // 2, n_faces * 3 // 2
    per_corner = {"corner", "twin", "kind", "wedge"}
    return halves._replace(
        **{
            name: longer(array, 3 * n_faces if name in per_corner else n_vertices)
            for name, array in halves._asdict().items()
            if name != "used"
        }
    )


def _build_result(
    halves: HalfEdges, vertices: Tensor, attributes: Tensor, corner_attributes: Tensor | None, counts: np.ndarray
) -> Remeshed:
    """Build the mesh that the half-edges describe, without removed vertices and faces."""
    from diffrender.geometry.remesh.link_halfedges import compact

    n_vertices = int((halves.start[: halves.used[0]] >= 0).sum())
    n_faces = int((halves.corner[: 3 * halves.used[1] : 3] >= 0).sum())
    faces = np.empty((n_faces, 3), np.int64)
    wedges = np.empty((3 * n_faces, halves.wedge.shape[1]))
    vertex = np.empty(n_vertices, np.int64)
    compact(halves, faces, wedges, vertex)
    corners = None
    if corner_attributes is not None:
        corners = torch.from_numpy(wedges).to(corner_attributes.dtype).reshape(n_faces, 3, wedges.shape[1])
    return Remeshed(
        vertices=torch.from_numpy(halves.position[vertex]).to(vertices.dtype),
        faces=torch.from_numpy(faces),
        attributes=torch.from_numpy(halves.values[vertex]).to(attributes.dtype),
        corner_attributes=corners,
        target_length=torch.from_numpy(halves.target[vertex]).to(vertices.dtype),
        edits=Edits(
            splits=int(counts[SPLIT]),
            collapses=int(counts[COLLAPSED]),
            flips=int(counts[FLIPPED]),
            slides=int(counts[MOVED]),
            refused_topology=int(counts[REFUSED_TOPOLOGY]),
            refused_feature=int(counts[REFUSED_FEATURE]),
            refused_turn=int(counts[REFUSED_TURN]),
            refused_sliver=int(counts[REFUSED_SLIVER]),
            refused_long=int(counts[REFUSED_LONG]),
        ),
    )
