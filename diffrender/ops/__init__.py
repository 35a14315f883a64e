"""The renderer's kernels: raw tensors in, tensors out; a folder per op, a file per implementation. See README.md."""
