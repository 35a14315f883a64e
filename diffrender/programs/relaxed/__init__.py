"""Relaxed choices: discrete decisions of programs, with derivatives (README.md of the folder above compares them)."""

from diffrender.programs.relaxed.anneal import Anneal
from diffrender.programs.relaxed.control import branch, while_loop
from diffrender.programs.relaxed.score_function import score_function
from diffrender.programs.relaxed.values import Sorted, argmax, clamp, round, sign, sort, step, where

__all__ = [
    "Anneal", "Sorted", "argmax", "branch", "clamp", "round", "score_function", "sign", "sort", "step", "where",
    "while_loop",
]  # fmt: skip
