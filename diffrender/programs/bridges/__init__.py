"""Bridges: functions of PyTorch in JAX, SciPy, NumPy and TensorFlow, and theirs in PyTorch, with derivatives."""

from diffrender.programs.bridges.jax_bridge import from_jax, to_jax
from diffrender.programs.bridges.numpy_bridge import from_numpy, to_numpy
from diffrender.programs.bridges.scipy_bridge import ScipyProblem, scipy_problem
from diffrender.programs.bridges.tensorflow_bridge import to_tensorflow

__all__ = ["ScipyProblem", "from_jax", "from_numpy", "scipy_problem", "to_jax", "to_numpy", "to_tensorflow"]
