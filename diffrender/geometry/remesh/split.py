"""Kernels: split edges that are too long at their middle."""

from __future__ import annotations

import numpy as np
from numba import njit

from diffrender.geometry.remesh.halfedges import after, before, length_of, target_length_at


@njit(cache=True, error_model="numpy")
def find_long_edges(m, high):
    """Return one half-edge per edge longer than `high` times its target length, the longest first."""
    n_halves = 3 * m.used[1]
    count = 0
    for h in range(n_halves):
        if m.corner[h] >= 0 and m.twin[h] < h and length_of(m, h) > high * target_length_at(m, h):
            count += 1
    found = np.empty(count, np.int64)
    ratio = np.empty(count)
    count = 0
    for h in range(n_halves):
        if m.corner[h] >= 0 and m.twin[h] < h and length_of(m, h) > high * target_length_at(m, h):
            found[count] = h
            ratio[count] = -length_of(m, h) / target_length_at(m, h)
            count += 1
    return found[np.argsort(ratio, kind="mergesort")]


@njit(cache=True)
def _halve(m, h, v):
    """Cut the face of h = (a, b) with third corner c from c to v on the edge a b; return the half-edge from v to b.

            c                      c        The old face keeps the half-edges a v and c a, its middle one becomes v c.
           / \\                   /|\\      The new face has v b, b c (with the twin that it had), c v.
          /   \\       ->        / | \\
         a --- b                a--v--b
    """
    middle, last = after(h), before(h)
    new = 3 * m.used[1]
    m.used[1] += 1
    b, c = m.corner[middle], m.corner[last]
    m.corner[new], m.corner[new + 1], m.corner[new + 2] = v, b, c
    outer = m.twin[middle]
    m.twin[new + 1] = outer
    if outer >= 0:
        m.twin[outer] = new + 1
    m.kind[new], m.kind[new + 1], m.kind[new + 2] = m.kind[h], m.kind[middle], 0
    m.twin[new + 2], m.twin[middle], m.kind[middle] = middle, new + 2, 0
    for i in range(m.wedge.shape[1]):
        # Addition is commutative bit for bit, so an edge that is not a seam does not become one.
        half = 0.5 * (m.wedge[h, i] + m.wedge[middle, i])
        m.wedge[new + 1, i], m.wedge[new + 2, i] = m.wedge[middle, i], m.wedge[last, i]
        m.wedge[new, i] = m.wedge[middle, i] = half
    m.corner[middle] = v
    if m.start[b] == middle:
        m.start[b] = new + 1
    m.valence[c] += 1
    return new


@njit(cache=True)
def split_edge(m, h):
    """Insert a vertex in the middle of the edge of h; the arrays must have room for one vertex and two faces."""
    a, b, t = m.corner[h], m.corner[after(h)], m.twin[h]
    v = m.used[0]
    m.used[0] += 1
    for i in range(3):
        m.position[v, i] = 0.5 * (m.position[a, i] + m.position[b, i])
    for i in range(m.values.shape[1]):
        m.values[v, i] = 0.5 * (m.values[a, i] + m.values[b, i])
    m.target[v] = 0.5 * (m.target[a] + m.target[b])
    m.stamp[v] = 0
    onward = _halve(m, h, v)
    m.start[v], m.valence[v] = onward, 3
    m.twin[onward] = t
    if t >= 0:
        back = _halve(m, t, v)
        m.valence[v] = 4
        m.twin[onward], m.twin[t] = t, onward
        m.twin[h], m.twin[back] = back, h


@njit(cache=True)
def split_edges(m, edges):
    """Split the edges of these half-edges, unless another split has changed them; return how many."""
    ends = np.empty((len(edges), 2), np.int64)
    for i in range(len(edges)):
        ends[i, 0], ends[i, 1] = m.corner[edges[i]], m.corner[after(edges[i])]
    count = 0
    for i in range(len(edges)):
        h = edges[i]
        # A split nearby may move half-edges; such an edge waits for the next round.
        if m.corner[h] == ends[i, 0] and m.corner[after(h)] == ends[i, 1]:
            split_edge(m, h)
            count += 1
    return count
