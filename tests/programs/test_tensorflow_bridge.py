"""to_tensorflow: the gradient of an image in TensorFlow is PyTorch's. Skipped by most: it is not in the test extra."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from support.small_image import ball_image

from diffrender.errors import BackendError
from diffrender.programs.bridges import to_tensorflow

COLOR = torch.tensor([0.9, 0.5, 0.2])


def test_the_gradient_of_an_image_is_the_same() -> None:
    tf: Any = pytest.importorskip("tensorflow", reason="TensorFlow is not installed: pip install tensorflow")
    image = to_tensorflow(lambda position, index: (ball_image(position, COLOR), position[index]))
    x = torch.tensor([0.1, 0.2, 0.0], requires_grad=True)
    picture = ball_image(x, COLOR)
    (expected,) = torch.autograd.grad(picture.square().mean() + 3 * x[1], x)
    position, index = tf.constant(x.tolist()), tf.constant(1, tf.int64)
    with tf.GradientTape() as tape:
        tape.watch(position)
        found, chosen = image(position, index)
        loss = tf.reduce_mean(found**2) + 3 * chosen
    assert found.numpy() == pytest.approx(picture.detach().numpy(), abs=1e-6)
    assert tape.gradient(loss, position).numpy() == pytest.approx(expected.numpy(), rel=1e-4)
    with tf.GradientTape() as tape:
        tape.watch(position)
        loss = tf.function(lambda p: tf.py_function(lambda p: image(p, index)[1], [p], tf.float32) ** 2)(position)
    assert tape.gradient(loss, position).numpy() == pytest.approx([0, 0.4, 0])


def test_what_to_install_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(BackendError, match=r"to_tensorflow needs tensorflow, .*: pip install 'tensorflow'"):
        to_tensorflow(torch.sin)
