"""Selection of the views of each step."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.errors import ConfigError

# Separates the epochs of one seed from those of the next; any large odd number works.
EPOCH_STRIDE = 1_000_003


class Batches:
    """Batches of one size over views that are reshuffled every epoch; a batch may extend into the next epoch.

    The batch of a step depends only on (n_views, batch_size, seed, step), so that a fit resumes from a checkpoint as if
    it had never stopped.

    batch_size: at least 1; None, or n_views and more, for all views in order.
    """

    def __init__(self, n_views: int, batch_size: int | None, seed: int) -> None:
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        self._n_views = n_views
        self._size = n_views if batch_size is None else min(batch_size, n_views)
        self._seed = seed
        self._epochs: dict[int, Tensor] = {}

    def at(self, step: int) -> Tensor | None:
        """Return the indices [batch_size] int64 of the views of `step`, on the CPU, or None for all views in order.

        An index repeats only if the batch extends into the next epoch.
        """
        if self._size == self._n_views:
            return None
        position = torch.arange(step * self._size, (step + 1) * self._size, device="cpu")
        first, last = int(position[0]) // self._n_views, int(position[-1]) // self._n_views
        self._epochs = {epoch: self._shuffle(epoch) for epoch in range(first, last + 1)}
        return torch.cat([self._epochs[epoch] for epoch in (first, last)])[position - first * self._n_views]

    def _shuffle(self, epoch: int) -> Tensor:
        if epoch in self._epochs:
            return self._epochs[epoch]
        generator = torch.Generator().manual_seed(self._seed * EPOCH_STRIDE + epoch)
        return torch.randperm(self._n_views, generator=generator, device="cpu")
