"""Constants of the remeshing kernels: thresholds, and the indices of edit counts."""

from __future__ import annotations

import math

# Edges longer than HIGH times the target are split, those shorter than LOW are collapsed. Botsch and Kobbelt (2004),
# section 4: an edge of 4/3 is as far from 1 as its halves are, one of 4/5 as the edge of 6/5 that two of them make.
HIGH, LOW = 4 / 3, 4 / 5
# No edit turns a face's normal by more than this.
COS_TURN = math.cos(math.radians(60))
# A line of special edges that turns by more than this at a vertex has a corner there, which is fixed.
COS_CORNER = math.cos(math.radians(40))
# Minimum quality (4 sqrt(3) area / sum of squared sides) of a face made by an edit, unless a worse one was there: that
# of an isosceles triangle with an apex of 7 degrees.
SLIVER = 0.2

# Indices in the array of counts.
SPLIT, COLLAPSED, FLIPPED, MOVED = 0, 1, 2, 3
REFUSED_TOPOLOGY, REFUSED_FEATURE, REFUSED_TURN, REFUSED_SLIVER, REFUSED_LONG = 4, 5, 6, 7, 8
N_COUNTS = 9
