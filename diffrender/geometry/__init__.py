"""Mathematics of meshes and cameras, independent of scenes and fits."""

import diffrender.threads  # noqa: F401  chooses where compiled kernels are kept, before any is defined
