"""Rendering: from a scene and cameras to differentiable images."""
