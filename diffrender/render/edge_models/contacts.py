"""Decide which silhouette segments are seen where surfaces touch, and what their motion uncovers there."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.backend import choose_backend
from diffrender.ops.intersections.op import LEAST_STEEPNESS
from diffrender.ops.query_visibility import query_visibility
from diffrender.ops.rasterize import Raster
from diffrender.ops.reference_raster import EdgeFunctions, edge_functions, share_of_nearness
from diffrender.ops.supersample_silhouettes import (
    OUTSIDE_PX,
    TOUCHING_DEPTH,
    TOUCHING_PX,
    AntialiasPlan,
    OutsidePoints,
)

# How far outside of a silhouette to compare the depths of two surfaces that touch there.
APART_PX = 0.5


def resolve_contacts(
    verts_hom: Tensor, topology: Topology, raster: Raster, plan: AntialiasPlan, near: float, backend: str | None
) -> tuple[VisibleSegments, OutsidePoints]:
    """Return the segments of `plan` that are seen, and what is outside them.

    A segment is seen if nothing nearer is outside it. This does not suffice for three kinds, which must also be seen
    from within: segments that touch what is outside, those of open borders (several may coincide), and all of a scene
    of several parts (which may coincide). Where backs of faces can be seen, the face of a segment becomes the one that
    is: of the two at the fold of a sheet that is either. If a silhouette of another surface touches the segment from
    outside, as where two boxes stand side by side, the image has no derivative but one for parting and one for entering
    one another; their mean is taken.
    """
    segments, outside = plan.segments, plan.outside
    if len(plan.touches) == 0:  # as where there are no views
        return segments, outside
    if topology.n_components == 1 and choose_backend(verts_hom.device, backend) == "triton":
        from diffrender.render.edge_models.contacts_triton import settle_segments  # Triton is on few machines

        return settle_segments(verts_hom, topology, raster, plan, near), outside
    unsure = (
        plan.touches | topology.is_border[plan.edge] if topology.n_components == 1 else torch.ones_like(plan.touches)
    )
    backs = shows_backs(verts_hom, topology, near)
    index = torch.arange(len(unsure), device=unsure.device) if backs else torch.nonzero(unsure)[:, 0]
    if len(index) == 0:
        return segments, outside

    # What is just inside must be a face of the edge.
    height, width = raster.face_id.shape[1:3]
    view = segments.pixel // (height * width)
    step = OUTSIDE_PX * torch.nn.functional.normalize(segments.normal_px.double(), dim=1)
    face_inside, _ = query_visibility(
        verts_hom, topology.faces, view[index], plan.xy_px[index] - step[index], height, width,
        bins=raster.bins, near=near, backend=backend,
    )  # fmt: skip
    corners = topology.welded_faces[face_inside.clamp_min(0)]
    ends = topology.edges[plan.edge[index]]
    is_end = corners[:, :, None] == ends[:, None]
    has_edge = is_end.any(1).all(1) & (face_inside >= 0)
    if backs:
        segments = with_faces_within(topology, segments, index, face_inside, ends, is_end, has_edge)
    face_outside = torch.full_like(segments.face, -1)
    face_outside[outside.segment] = outside.face_id
    touching = index[has_edge & plan.touches[index]]
    kink = touching[ends_at_silhouette(verts_hom, topology, raster, view, plan.xy_px, face_outside, touching)]
    is_seen = torch.ones_like(unsure)
    is_seen[index[~has_edge]] = False
    is_seen |= ~unsure
    if len(kink) == 0 and bool(is_seen.all()):
        return segments, outside

    xy_outside = plan.xy_px + step
    segments = segments._replace(normal_px=segments.normal_px.clone())
    segments.normal_px[kink] /= 2
    component = topology.face_component
    apart = kink[component[segments.face[kink]] != component[face_outside[kink]]]
    if len(apart):
        # Parted, each uncovers what is behind. Moved into one another, each covers what is outside if it is before it
        # (on a ridge, not in a valley), and the line where both intersect moves.
        uncovered, _ = query_visibility(
            verts_hom, topology.faces, view[apart], plan.xy_px[apart] - step[apart], height, width,
            bins=raster.bins, near=near, part=component, ignored=component[segments.face[apart]], backend=backend,
        )  # fmt: skip
        xy_apart = plan.xy_px + APART_PX / OUTSIDE_PX * step
        is_seen[apart] = covers_outside(verts_hom, topology, view, xy_apart, segments.face, face_outside, apart)
        segments = with_both_motions(verts_hom, topology, view, plan, face_outside, segments, apart)
        is_seen = torch.cat([is_seen, is_seen.new_ones(2 * len(apart))])
        face_outside = torch.cat([face_outside, uncovered, face_outside[apart]])
        xy_outside = torch.cat([xy_outside, xy_outside[apart] - 2 * step[apart], xy_outside[apart]])
        view = torch.cat([view, view[apart], view[apart]])

    seen = torch.nonzero(is_seen)[:, 0]
    inner = torch.nonzero(face_outside[seen] >= 0)[:, 0]
    beyond = seen[inner]
    segments = VisibleSegments._make(part[seen] for part in segments)
    return segments, OutsidePoints(inner, view[beyond], face_outside[beyond], xy_outside[beyond].to(verts_hom.dtype))


def with_faces_within(
    topology: Topology,
    segments: VisibleSegments,
    index: Tensor,
    face_inside: Tensor,
    ends: Tensor,
    is_end: Tensor,
    has_edge: Tensor,
) -> VisibleSegments:
    """Return `segments`, those at index [K] on the faces face_inside [K] that have their edge.

    ends: [K, 2] of the edges. is_end: [K, 3, 2] which corners of the faces inside they are. has_edge: [K] bool.
    """
    at_end = topology.welded_faces[segments.face[index]][:, :, None] == ends[:, None]
    along = (segments.bary[index][:, :, None] * at_end).sum(1, keepdim=True)
    face, bary = segments.face.clone(), segments.bary.clone()
    face[index[has_edge]] = face_inside[has_edge]
    bary[index[has_edge]] = (along * is_end).sum(2)[has_edge]
    return segments._replace(face=face, bary=bary)


def with_both_motions(
    verts_hom: Tensor,
    topology: Topology,
    view: Tensor,
    plan: AntialiasPlan,
    face_outside: Tensor,
    segments: VisibleSegments,
    apart: Tensor,
) -> VisibleSegments:
    """Return `segments`, those at `apart` once more as they part from what is outside, and once as they enter it."""
    halves = VisibleSegments._make(part[apart] for part in segments)
    normal_px, depth_weight = motion_of_intersection(
        verts_hom, topology.faces, view[apart], plan.xy_px[apart], face_outside[apart], halves
    )
    entering = halves._replace(normal_px=normal_px, depth_weight=depth_weight)
    return VisibleSegments._make(map(torch.cat, zip(segments, halves, entering, strict=True)))


def ends_at_silhouette(
    verts_hom: Tensor, topology: Topology, raster: Raster, view: Tensor, xy_px: Tensor, face: Tensor, index: Tensor
) -> Tensor:
    """Return [K] bool: whether face[index] has a silhouette of its own through the point xy_px[index]."""
    view, xy_px, face = view[index], xy_px[index], face[index]
    lines = functions_of(verts_hom, topology.faces, view, face).lines
    values = (lines[..., :2] * xy_px[:, None]).sum(-1) + lines[..., 2]
    is_near = values.abs() <= TOUCHING_PX * lines[..., :2].norm(dim=-1)
    # The edge opposite corner c leaves from corner c + 1.
    corner = 3 * face[:, None] + torch.tensor([1, 2, 0], device=face.device)
    edge = topology.edge_of_corner[corner].reshape(-1)
    half_edge, offset = topology.edge_corners
    count = offset[edge + 1] - offset[edge]
    row = torch.arange(len(edge), device=edge.device).repeat_interleave(count)
    half_edge = half_edge[
        offset[edge][row] + torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    ]
    facing = raster.bins.facing[view[row // 3], half_edge // 3].long()
    is_forward = topology.welded_faces.reshape(-1)[half_edge] == topology.edges[edge[row], 0]
    side = torch.where(is_forward, facing, -facing)
    low, high = (
        side.new_zeros(len(edge)).scatter_reduce(0, row, side, r, include_self=False) for r in ("amin", "amax")
    )
    return (is_near & (low == high).reshape(-1, 3)).any(1)


def covers_outside(
    verts_hom: Tensor, topology: Topology, view: Tensor, xy_px: Tensor, face: Tensor, other: Tensor, index: Tensor
) -> Tensor:
    """Return [K] bool: whether the plane of face[index] is before that of other[index] there; ties by index."""
    depths = []
    for faces in (face[index], other[index]):
        lines = functions_of(verts_hom, topology.faces, view[index], faces).lines
        values = (lines[..., :2] * xy_px[index][:, None]).sum(-1) + lines[..., 2]
        corner_depth = verts_hom[view[index][:, None], topology.faces[faces], 3].double()
        depths.append((values * corner_depth).sum(-1) / values.sum(-1))
    difference = depths[0] - depths[1]
    tie = difference.abs() <= TOUCHING_DEPTH * depths[1].abs()
    return torch.where(tie, face[index] < other[index], difference < 0)


def motion_of_intersection(
    verts_hom: Tensor, faces: Tensor, view: Tensor, xy_px: Tensor, other: Tensor, segments: VisibleSegments
) -> tuple[Tensor, Tensor]:
    """Return normal_px [K, 2] and depth_weight [K] with which each segment's face moves its line with other [K].

    As in ops.intersections, of planes that meet at the segment; zero where they are one plane.
    """
    pair = torch.stack([segments.face, other], 1)
    verts = verts_hom[view[:, None, None], faces[pair]].double()
    functions = [functions_of(verts_hom, faces, view, face) for face in pair.unbind(1)]
    lines, det = (torch.stack(parts, 1) for parts in zip(*functions, strict=True))
    is_perspective, share = share_of_nearness(verts)
    weights = share / det.abs()[..., None]
    values = (lines[..., :2] * xy_px[:, None, None]).sum(-1) + lines[..., 2]
    depth = (values[:, 0] * verts[:, 0, :, 3]).sum(-1) / values[:, 0].sum(-1)
    slope = (lines[..., :2] * weights[..., None]).sum(2)
    steepness = (slope[:, 0] - slope[:, 1]).norm(dim=1)
    is_sound = steepness > LEAST_STEEPNESS * (values * weights).sum(2)[:, 0].abs()
    reach = torch.where(is_sound, segments.normal_px.norm(dim=1) / steepness, 0.0)
    fall = torch.where(is_perspective, depth**-2, torch.ones_like(depth))
    return (-slope[:, 0] * reach[:, None]).to(verts_hom.dtype), (-fall * reach).to(verts_hom.dtype)


def functions_of(verts_hom: Tensor, faces: Tensor, view: Tensor, face: Tensor) -> EdgeFunctions:
    """Return the edge functions of K faces, each in its own view: lines [K, 3, 3], det [K]."""
    corners = verts_hom[view[:, None], faces[face]].reshape(1, -1, 4)
    own = torch.arange(3 * len(face), device=face.device).reshape(-1, 3)
    lines, det = edge_functions(corners, own)
    return EdgeFunctions(lines[0], det[0])


def shows_backs(verts_hom: Tensor, topology: Topology, near: float) -> bool:
    """Return whether faces that are turned away can be seen in any view of vertices [N, V, 4]."""
    # The map to pixels and depth keeps what is left and right.
    return is_cut_open(verts_hom, near) or not topology.is_outward(verts_hom[0], (0, 1, 3))


def is_cut_open(verts_hom: Tensor, near: float) -> bool:
    """Return whether the near plane of a view runs between vertices [N, V, 4], as where a camera is inside a mesh."""
    is_drawn = verts_hom[..., 3] > near
    return bool((is_drawn.any(1) & ~is_drawn.all(1)).any())
