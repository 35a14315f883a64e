"""Pure mesh and camera mathematics."""

import diffrender.threads  # noqa: F401  chooses where compiled kernels are kept, before any is defined
