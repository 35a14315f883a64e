"""Diagnosis of non-finite numbers: the terms, views and learned values that cause them. Slow; runs when a fit stops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from diffrender.fit.objective import Terms


def describe_bad_terms(terms: Terms, view_names: Sequence[str]) -> list[str]:
    """Describe each term that is not finite, with the views where it is not."""
    found = []
    for name, value in terms.values.items():
        number = float(value.detach())
        if math.isfinite(number):
            continue
        where = ""
        if name in terms.per_view:
            finite = torch.isfinite(terms.per_view[name]).tolist()
            where = " in " + ", ".join(view for view, good in zip(view_names, finite, strict=True) if not good)
        found.append(f"loss term {name} is {number}{where}")
    return found or [f"the weighted sum of the loss terms is {float(terms.total.detach())}"]


def find_bad_gradients(terms: Terms, latent: Tensor) -> list[str]:
    """Return the names of the terms whose gradient with respect to `latent` is not finite."""
    gradients = {name: _gradient(value, latent) for name, value in terms.values.items()}
    return [name for name, gradient in gradients.items() if not bool(torch.isfinite(gradient).all())]


def find_influences(terms: Terms, latents: Mapping[str, Tensor]) -> list[str]:
    """Return the paths of the latents that the non-finite terms depend on."""
    bad = [value for value in terms.values.values() if not bool(torch.isfinite(value))] or [terms.total]
    return [path for path, latent in latents.items() if any(bool((_gradient(v, latent) != 0).any()) for v in bad)]


def _gradient(value: Tensor, latent: Tensor) -> Tensor:
    """Return the gradient of `value` with respect to `latent`; zeros if it does not depend on it."""
    if not (value.requires_grad and latent.requires_grad):
        return torch.zeros_like(latent)
    (gradient,) = torch.autograd.grad(value, [latent], retain_graph=True, allow_unused=True)
    return torch.zeros_like(latent) if gradient is None else gradient
