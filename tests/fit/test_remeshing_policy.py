"""When a mesh is remeshed in a fit, how long its edges should be, and how many faces it may have."""

from __future__ import annotations

import math

import pytest
import torch

from diffrender.errors import ConfigError
from diffrender.fit.remeshing.remesh_object import remesh_with_attributes
from diffrender.fit.remeshing_policy import Remeshing
from diffrender.geometry.primitives import icosphere
from diffrender.scene.mesh import Mesh

BALL = Mesh(*icosphere(1, 0.5))


def test_steps_that_are_due():
    def due(steps=10, **options):
        remeshing = Remeshing(0.1, 0.2, **options)
        return [done for done in range(1, steps + 1) if remeshing.is_due(done, steps)]

    assert due() == list(range(1, 10))
    assert due(every=3) == [3, 6, 9]
    assert due(every=3, start=2, stop=8) == [2, 5]
    assert due(at=(4, 7, 30)) == [4, 7]


def test_target_lengths():
    mesh = BALL
    ends = mesh.vertices[mesh.topology.edges]
    length = (ends[:, 1] - ends[:, 0]).norm(dim=1)
    first = Remeshing(0.01, 1.0).first_lengths(mesh)
    around = (mesh.topology.edges == 5).any(1)
    assert float(first[5]) == pytest.approx(float(length[around].mean()))
    assert (Remeshing(0.5, 1.0).first_lengths(mesh) == 0.5).all()
    remeshing = Remeshing(0.1, 0.2, gain=0.2, rest=0.3, settled=0.5)
    lengths = remeshing.next_lengths(torch.full((4,), 0.15), torch.tensor([0.0, 0.3, 1.0, 7.0]), 0.0)
    torch.testing.assert_close(lengths, 0.15 * torch.tensor([0.94, 1.0, 1.14, 1.14]))
    bounds = torch.tensor([0.1, 0.2]), torch.tensor([0.0, 1.0])
    assert remeshing.next_lengths(*bounds, 0.0).tolist() == pytest.approx([0.1, 0.2])
    assert remeshing.next_lengths(*bounds, 0.25).tolist() == pytest.approx([0.1, 0.02**0.5])
    assert remeshing.next_lengths(*bounds, 0.5).tolist() == pytest.approx([0.1, 0.1])
    assert remeshing.next_lengths(*bounds, 0.9).tolist() == pytest.approx([0.1, 0.1])
    assert remeshing.next_lengths(*bounds, 0.0, 1.5).tolist() == pytest.approx([0.15, 0.2])
    assert remeshing.next_lengths(*bounds, 0.9, 1.5).tolist() == pytest.approx([0.15, 0.15])
    assert remeshing.next_lengths(*bounds, 0.0, 4.0).tolist() == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("most_faces", [100, 200, 1001])
def test_there_are_never_more_faces_than_wanted(most_faces):
    """Neither of needles, whose edges are long and areas small, nor of a mesh that begins with more."""
    coarse, fine = icosphere(1, 0.5), icosphere(3, 0.5)
    needles = Mesh(coarse.vertices * torch.tensor([1.0, 1e-4, 1e-4]), coarse.faces)
    for mesh in (needles, Mesh(*fine), Mesh(*coarse)):
        for passes in (1, 3):
            lengths = torch.full((mesh.n_vertices,), 0.005)
            stretch = Remeshing(0.001, 1.0, most_faces=most_faces).stretch(mesh, lengths)
            found = remesh_with_attributes(mesh, {}, lengths * stretch, passes, most_faces)
            assert most_faces / 2 < found.mesh.n_faces <= most_faces
            assert len(found.lengths) == found.mesh.n_vertices


def test_what_cannot_be_made_so_coarse_is_as_coarse_as_can_be():
    mesh = BALL
    found = remesh_with_attributes(mesh, {}, torch.full((42,), 0.1), 1, 2)
    assert 4 <= found.mesh.n_faces <= 8


def test_the_estimate_of_faces():
    mesh = BALL
    remeshing = Remeshing(0.001, 1.0, most_faces=1000)
    stretch = remeshing.stretch(mesh, torch.full((42,), 0.001))
    area = 4 * math.pi * 0.25
    assert stretch == pytest.approx(math.sqrt(area / (math.sqrt(3) / 4 * 0.001**2) / 1000), rel=0.1)
    assert remeshing.stretch(mesh, torch.full((42,), 0.5)) == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"shortest": 0.0}, "0 < shortest <= longest"),
        ({"shortest": 0.3}, "0 < shortest <= longest, got 0.3 and 0.2"),
        ({"every": 0}, "every must be at least 1"),
        ({"gain": 2.0}, "gain must be in"),
        ({"full_speed": 0.0}, "full_speed must be above 0"),
        ({"start": 3, "stop": 3}, "stop must come after start"),
    ],
)
def test_wrong_options(options, complaint):
    with pytest.raises(ConfigError, match=f"remesh: .*{complaint}"):
        Remeshing(**{"shortest": 0.1, "longest": 0.2, **options})
