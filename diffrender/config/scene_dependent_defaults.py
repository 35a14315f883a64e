"""Defaults that depend on the scene: `setup` fills them in, descriptions of options quote them."""

from __future__ import annotations

from collections.abc import Mapping

# Targets rendered on the fly: pixels per side.
SYNTHETIC_RESOLUTION = 128
# Photographs: pixels of the long side. They have more than a first fit has use for, or fit into memory by the hundred.
PHOTO_RESOLUTION = 800
# Every Nth view is held out. If there are very few views, all are needed for the fit.
EVERY = 8
FEWEST_TO_SPLIT = 4

# Rows of an environment map that starts from a colour: enough for soft shadows, few enough to be learned.
MAP_HEIGHT = 32
# Heights of environment maps are multiples of it.
HEIGHT_UNIT = 16
# An initial colour from which the fit can move in every direction.
GRAY = (0.5, 0.5, 0.5)

# Near depth of perspective cameras, in radii of the targets' region.
NEAR = 1e-3
# The initial sigma of soft edges is the shorter side of the image divided by this: wide enough for the error of a rough
# initial shape, narrow enough to keep limbs apart.
SIGMAS_PER_SIDE = 32
# Narrower edges are not blurred.
SHARPEST_PX = 0.5

# Default learning rates by parametrisation: of vertices in radii of the object, of lights' positions in radii of the
# region, all others absolute.
RATES: Mapping[str, float] = {
    "identity": 0.02,
    "positive": 0.02,
    "unit_interval": 0.05,
    "bounded": 0.05,
    "direction": 0.02,
    "pose": 0.01,
    "camera_poses": 0.02,
    "large_steps": 0.05,
    "zero_mean": 0.02,
    "balanced": 0.01,
    "monotone": 0.02,
}
# In radians, radii, and shares of distances or focal lengths. Half of it left one of 26 poses 4 degrees off.
CAMERA_RATE = 0.02
# Of the steps, unless the shape starts from a visual hull: that is shape enough, and what it then learns while its
# cameras are wrong keeps them wrong (16 photographs that were 2 degrees off ended at 1.2 degrees in place of .8).
CAMERAS_START = 0.1
CAMERA_PULL = 0.2
# In pixels, where blur is learned and not known: wide enough to have a slope also while images are half as large. Steps
# change it by such a share of itself, until the end: only images of full size tell it well, and they come last.
BLUR_PX = 1.0
BLUR_RATE = 0.05
# Masks of photographs are cut somewhere in a blurred outline, mostly at its outer end; colours say where it is as well.
MASK_WITH_BLUR = 0.5
# Views per step of a hull fitted to few pictures, of which four are a small part of what the object looks like: on the
# dinosaur .5 dB for half as much time again.
VIEWS_OF_PICTURES, FEW_PICTURES = 8, 16
# How often each view is compared at least while a hull becomes a shape, and steps beyond which that is not asked for.
TIMES_PER_VIEW, MOST_STEPS = 64, 1600
# Views per step where poses are learned: of fewer, the shape follows those of the step, and their poses follow it.
VIEWS_FOR_POSES = 16
# Decay rates of Adam's running means of gradients and squared gradients.
BETAS = (0.9, 0.999)
# Remeshed vertices without large_steps: the learning rate is in target edge lengths, and moments decay quickly, because
# remeshing soon moves a vertex elsewhere.
RATE_IN_EDGES = 0.3
BETAS_IN_EDGES = (0.8, 0.8)
# In radii of the object: an initially coarse mesh moves far in few steps, and finer ones correct its errors.
RATE_OF_REMESHED_LARGE_STEPS = 0.2
# Few large triangles need little smoothing. More of it, such as the paper's 19, lost detail on the bulldozer (10,242
# vertices) and the dinosaur (2,562).
VERTICES_PER_LAMBDA = 640
LAMBDAS = (1.0, 4.0)
LAMBDA_OF_REMESHED = 4.0
# Texels along the shorter side of the coarsest learned level: with fewer, charts of a texture would share texels.
LEAST_COARSE = 8

# Target edge lengths. Images contain little information about details of less than a few pixels.
SHORTEST_PX = 2.0
# In radii of the region: about 250 faces on a sphere, enough to deform anywhere and few enough to do so fast.
LONGEST = 0.33
# With large_steps every change of the mesh costs a new factorisation.
EVERY_WITH_LARGE_STEPS = 5
SMOOTHING = 0.02

# Levenberg-Marquardt's steps at most, those at each size of images that are smaller at first, and the least side of the
# first; samples along each side of a pixel on a silhouette.
SAMPLES_OF_LEAST_SQUARES = 8
STEPS_OF_LEAST_SQUARES = 40
STEPS_PER_SIZE = 2
LEAST_SIDE_OF_LEAST_SQUARES = 8

# Weights of terms; those of materials and lights were tuned on scenes/material.yaml.
NORMAL_CONSISTENCY_WITH_LARGE_STEPS = 0.001
NORMAL_CONSISTENCY = 0.01
# Without it, remeshed vertices follow the noise of their gradients: an orange peel. In light, each tilt of a face shows
# and pulls; without, edges may be sharper.
NORMAL_CONSISTENCY_OF_REMESHED = 0.05
NORMAL_CONSISTENCY_WITHOUT_LIGHT = 0.03
# Up to so many views the weights of remeshed shapes and their textures are whole, and from so many on a part of them:
# more views see each place. With a smaller part, dents come where a surface is of one dark colour.
VIEWS_OF_PRIORS, MANY_VIEWS, PART_OF_PRIORS = 30, 50, 0.2
# The first steps, which are long, fold thin parts into themselves; some folds never come apart again.
EARLY_NORMAL_CONSISTENCY = 12.0
LAPLACIAN = 0.1
SMOOTHNESS = 3e-4
# Where pictures disagree, as under lights that do not turn with the object, each texel takes another's side: speckles.
# How much they do is the image loss itself, which this is times: as in a most probable texture, whose prior counts more
# where its data are noisier.
SMOOTHNESS_OF_TEXTURES = 0.03
WHITE_LIGHT = 1e-3


def end_of_coarse_steps(steps: int) -> int:
    """Return the step up to which images are smaller, or edges softer, if the scene file does not say: half of them."""
    return max(1, steps // 2)
