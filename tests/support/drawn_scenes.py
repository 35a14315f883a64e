"""Fits of a scene with other true parameters and other noise each time: are what they say of their certainty true?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffrender.app.program_results import program_run
from diffrender.app.uncertainty import find_posterior
from diffrender.config.load import load_config
from diffrender.config.overrides import Override
from diffrender.fit.loop import fit
from diffrender.setup.fit_setup import build_fit
from diffrender.threads import kernel_threads, threads_to_kernels

# How many deviations intervals of a normal distribution reach from their middle.
REACH = {0.68: 0.9945, 0.95: 1.96}


def errors_in_deviations(scene: Path, draws: int, overrides: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
    """Return, of each fit, the errors of all K numbers of the program's parameters in standard deviations [D, K], and
    their joint size e^T C^-1 e [D], of which K is expected.

    True numbers are drawn evenly from as far on either side of the start as they are in the file; `seed` of the noise
    is that of the draw.
    """
    generator = torch.Generator().manual_seed(0)
    config = load_config(scene, overrides)
    synthetic = config.targets.synthetic
    assert config.program is not None and synthetic is not None and synthetic.program is not None
    starts, truths = (each.parameters.by_name() for each in (config.program, synthetic.program))
    errors, sizes = [], []
    for draw in range(draws):
        drawn: list[str] = []
        for name, true in truths.items():
            start = torch.tensor(starts[name].value, dtype=torch.float64)
            reach = torch.tensor(true.value, dtype=torch.float64) - start
            value = start + reach * (2 * torch.rand(start.shape, generator=generator, dtype=torch.float64) - 1)
            drawn.append(f"targets.synthetic.program.parameters.{name}={value.tolist()}")
        every = [Override.parse(each) for each in (*overrides, *drawn, f"optimize.seed={draw}")]
        with threads_to_kernels(kernel_threads()):
            setup = build_fit(load_config(scene, every))
            measured = setup.model, setup.fit_views, setup.objective, setup.optimizer
            result = fit(*measured, setup.settings, setup.render_step)
            run, posterior = program_run(setup, result), find_posterior(setup, result)
        assert posterior is not None
        covariance = posterior.covariance_of([f"program.{name}" for name in run.found])
        assert covariance is not None
        error = torch.cat([(value - run.true[name]).reshape(-1) for name, value in run.found.items()])
        errors.append(error / covariance.diagonal().sqrt())
        sizes.append(error @ torch.linalg.solve(covariance, error))
    return torch.stack(errors), torch.stack(sizes)
