"""Kernels: convert faces to half-edges and back, find faults of the faces, and mark special edges."""

from __future__ import annotations

import numpy as np
from numba import njit

from diffrender.geometry.remesh.halfedges import BOUNDARY, FEATURE, SEAM, after, before, normal_at

# Faults of an edge or a vertex.
THIRD_FACE, SAME_DIRECTION, SAME_FACE, PINCHED = 0, 1, 2, 3


@njit(cache=True)
def link_twins(corner, n_vertices, twin, faults, examples):
    """Fill twin [3F]; count the edges with each fault in faults [4], with the first pair of faces in examples [4, 2].

    Half-edges are listed by their lower vertex; within a list, twins have the same higher vertex.
    """
    n_halves = len(corner)
    first = np.zeros(n_vertices + 1, np.int64)
    for h in range(n_halves):
        first[min(corner[h], corner[after(h)]) + 1] += 1
    for v in range(n_vertices):
        first[v + 1] += first[v]
    listed = np.empty(n_halves, np.int64)
    next_slot = first[:-1].copy()
    for h in range(n_halves):
        v = min(corner[h], corner[after(h)])
        listed[next_slot[v]] = h
        next_slot[v] += 1
    seen_by = np.full(n_vertices, -1, np.int64)
    seen = np.empty(n_vertices, np.int64)
    for h in range(n_halves):
        twin[h] = -1
    for v in range(n_vertices):
        for i in range(first[v], first[v + 1]):
            h = listed[i]
            w = max(corner[h], corner[after(h)])
            if seen_by[w] != v:
                seen_by[w], seen[w] = v, h
                continue
            g = seen[w]
            fault = -1
            if twin[g] >= 0:
                fault = THIRD_FACE
            elif corner[g] == corner[h]:
                fault = SAME_DIRECTION
            elif corner[before(g)] == corner[before(h)]:
                fault = SAME_FACE
            if fault >= 0:
                if faults[fault] == 0:
                    examples[fault, 0], examples[fault, 1] = g // 3, h // 3
                faults[fault] += 1
            else:
                twin[g], twin[h] = h, g


@njit(cache=True)
def link_vertices(m, n_vertices, faults, examples):
    """Fill start and valence; count vertices whose faces are not connected by edges as PINCHED."""
    n_halves = 3 * m.used[1]
    corners = np.zeros(n_vertices, np.int64)
    for v in range(n_vertices):
        m.start[v] = -1
        m.valence[v] = 0
    for h in range(n_halves):
        v = m.corner[h]
        corners[v] += 1
        if m.start[v] < 0 or m.twin[h] < 0:
            m.start[v] = h
    for v in range(n_vertices):
        if m.start[v] < 0:
            continue
        k = m.start[v]
        count = 0
        while True:
            count += 1
            k = m.twin[before(k)]
            if k < 0 or k == m.start[v]:
                break
        m.valence[v] = count + (1 if k < 0 else 0)
        if count != corners[v]:
            if faults[PINCHED] == 0:
                examples[PINCHED, 0] = v
            faults[PINCHED] += 1


@njit(cache=True, error_model="numpy")
def mark_edges(m, cos_feature):
    """Fill kind: boundary edges, seams (corner values differ between the two faces) and features (sharp edges).

    A sharp edge counts only if another one continues it: a single one is noise, and so is one at a folded face, whose
    normal points against those of the faces around it.
    """
    n_halves = 3 * m.used[1]
    around = np.zeros((m.used[0], 3))
    for h in range(n_halves):
        x, y, z, _ = normal_at(m.position, m.corner[h], m.corner[after(h)], m.corner[before(h)])
        v = m.corner[h]
        around[v, 0], around[v, 1], around[v, 2] = around[v, 0] + x, around[v, 1] + y, around[v, 2] + z
    sharp = np.zeros(m.used[0], np.int64)
    for h in range(n_halves):
        t = m.twin[h]
        if t < 0:
            m.kind[h] = BOUNDARY
            continue
        m.kind[h] = 0
        for i in range(m.wedge.shape[1]):
            if m.wedge[h, i] != m.wedge[after(t), i] or m.wedge[after(h), i] != m.wedge[t, i]:
                m.kind[h] = SEAM
        a, b, c, d = m.corner[h], m.corner[t], m.corner[before(h)], m.corner[before(t)]
        fx, fy, fz, _ = normal_at(m.position, a, b, c)
        gx, gy, gz, _ = normal_at(m.position, b, a, d)
        both = np.sqrt((fx * fx + fy * fy + fz * fz) * (gx * gx + gy * gy + gz * gz))
        if both > 0 and fx * gx + fy * gy + fz * gz < cos_feature * both:
            rx = around[a, 0] + around[b, 0] + around[c, 0] + around[d, 0]
            ry = around[a, 1] + around[b, 1] + around[c, 1] + around[d, 1]
            rz = around[a, 2] + around[b, 2] + around[c, 2] + around[d, 2]
            if fx * rx + fy * ry + fz * rz > 0 and gx * rx + gy * ry + gz * rz > 0:
                m.kind[h] |= FEATURE
                sharp[a] += 1  # each edge is visited from both ends
    for h in range(n_halves):
        if m.kind[h] & FEATURE and sharp[m.corner[h]] == 1 and sharp[m.corner[after(h)]] == 1:
            m.kind[h] -= FEATURE


@njit(cache=True)
def compact(m, faces, wedges, vertex):
    """Write the remaining mesh: renumbered faces [F, 3], wedges [3F, D], and the old number of each vertex [V]."""
    number = np.empty(m.used[0], np.int64)
    count = 0
    for v in range(m.used[0]):
        if m.start[v] >= 0:
            number[v] = count
            vertex[count] = v
            count += 1
    count = 0
    for f in range(m.used[1]):
        if m.corner[3 * f] >= 0:
            for i in range(3):
                faces[count, i] = number[m.corner[3 * f + i]]
                for j in range(m.wedge.shape[1]):
                    wedges[3 * count + i, j] = m.wedge[3 * f + i, j]
            count += 1
