"""Defaults that depend on the scene: builders fill them in, and descriptions of options quote them."""

from __future__ import annotations

from collections.abc import Mapping

# Targets rendered on the fly: pixels along each side.
SYNTHETIC_RESOLUTION = 128
# Every Nth view is held out, but of fewer views each is worth more in the fit than as a judge of it.
EVERY = 8
FEWEST_TO_SPLIT = 4

# Rows of a map that starts from a colour: enough for soft shadows of its sources, few enough to be learned.
MAP_HEIGHT = 32
# Heights of maps are multiples of it.
HEIGHT_UNIT = 16
# A vertex colour that leaves a fit room in every direction.
GRAY = (0.5, 0.5, 0.5)

# Sigmas of soft edges along the shorter side of the image. Wide enough to reach what a rough start is off by, narrow
# enough to keep limbs apart; the same part of any image.
SIGMAS_PER_SIDE = 32
# Narrower edges are no blur.
SHARPEST_PX = 0.5

# Learning rates for values without one, by parametrisation; those of vertices and lights' positions are in radii of the
# object and the region, all others as they stand.
RATES: Mapping[str, float] = {
    "identity": 0.02,
    "positive": 0.02,
    "unit_interval": 0.05,
    "direction": 0.02,
    "pose": 0.01,
    "large_steps": 0.05,
    "zero_mean": 0.02,
    "balanced": 0.01,
}
# Cameras of a capture are nearly right, and one that runs away takes the shape along.
CAMERA_POSE_RATE = 0.001
# What Adam keeps of its running means of gradients and of their squares.
BETAS = (0.9, 0.999)
# Of remeshed vertices without large_steps: in target lengths of their edges; and what is remembered of their gradients,
# which is little, because a vertex soon is elsewhere.
RATE_IN_EDGES = 0.3
BETAS_IN_EDGES = (0.8, 0.8)
# In radii of the object: a mesh that begins coarse goes far in few steps, and what that spoils is made good when finer.
RATE_OF_REMESHED_LARGE_STEPS = 0.2
# Few large triangles want little smoothing. More of it, as the paper's 19, lost detail in the pictures of the bulldozer
# (10,242 vertices) and of the dinosaur (2,562).
VERTICES_PER_LAMBDA = 640
LAMBDAS = (1.0, 4.0)
LAMBDA_OF_REMESHED = 4.0
# Texels along the shorter side of the coarsest image that is learned: with fewer, charts of a texture would share them.
LEAST_COARSE = 8

# Target lengths of edges. Images say little about what is smaller than some pixels.
SHORTEST_PX = 2.0
# Of the radius of the region: some 250 faces around it, enough to go any way and few enough to go there fast.
LONGEST = 0.33
# A step of large_steps after a change of the mesh costs a new factorisation.
EVERY_WITH_LARGE_STEPS = 5
SMOOTHING = 0.02

# Weights of terms; those of materials and lights were found on scenes/material.yaml.
NORMAL_CONSISTENCY_WITH_LARGE_STEPS = 0.001
NORMAL_CONSISTENCY = 0.01
LAPLACIAN = 0.1
SMOOTHNESS = 3e-4
WHITE_LIGHT = 1e-3


def end_of_coarse_steps(steps: int) -> int:
    """Return the step up to which images are smaller, or edges softer, if the scene file does not say: half of them."""
    return max(1, steps // 2)
