"""Which faces of a mesh face another way than their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diffrender.geometry.normals import face_normals
from diffrender.geometry.topology import Topology

# Cosine of the angle between normals from which on faces that run the same way along their edge lie on one another.
FOLDED = 0.5


def find_turned(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return [F] bool: the faces to turn over so that neighbours face the same way; the fewest of each surface.

    Neighbours share an edge with no other face, and do not lie on one another, as faces that a file has twice. None are
    found of a surface with one side only, as of a Moebius strip.

    vertices: [V, 3]; faces: [F, 3] int64; vertices that coincide are one.
    """
    topology = Topology(faces)
    found = torch.zeros(len(faces), dtype=torch.bool, device=faces.device)
    if topology.is_turned is None:
        return found
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    # Each face twice, as it is and turned, with links between those that face the same way: two copies of each surface.
    corner, offset = topology.edge_corners
    first = offset[:-1][(offset.diff() == 2) & (topology.edges[:, 0] != topology.edges[:, 1])]
    pairs = torch.stack([corner[first], corner[first + 1]], 1)
    start = faces.reshape(-1)[pairs]
    differs = start[:, 0] == start[:, 1]
    normals = normalize(face_normals(vertices.detach().double(), faces), dim=1)
    cosine = (normals[pairs[:, 0] // 3] * normals[pairs[:, 1] // 3]).sum(1)
    kept = ~differs | (cosine < FOLDED)
    a, b = (pairs[kept] // 3).T
    differs = differs[kept].long()
    n_faces = len(faces)
    links = torch.cat([torch.stack([a + n_faces * side, b + n_faces * (side ^ differs)]) for side in (0, 1)], 1)
    row, column = links.cpu().numpy()
    graph = coo_matrix((row >= 0, (row, column)), shape=(2 * n_faces, 2 * n_faces))
    label = torch.from_numpy(connected_components(graph, directed=False)[1]).long().to(faces.device)
    as_is, turned = label[:n_faces], label[n_faces:]
    # The copy that holds more faces as they are; of two that hold as many, one.
    count = torch.bincount(as_is, minlength=int(label.max()) + 1)
    return (as_is != turned) & ((count[turned] > count[as_is]) | ((count[turned] == count[as_is]) & (turned < as_is)))
