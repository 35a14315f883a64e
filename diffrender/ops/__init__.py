"""The renderer's kernels: raw tensors in, tensors out; a folder per op, a file per implementation. See README.md."""

import diffrender.threads  # noqa: F401  chooses where compiled kernels are kept, before any is defined
