"""The renderer's kernels: raw tensors in, tensors out; a folder an op, a file an implementation."""
