"""One of four lamps is on: which one is a choice, relaxed so that it has a gradient."""

from diffrender import relaxed


def choose(scores, temperature):
    """Return the intensity of each lamp: all of it from the one of the largest score, as the temperature falls."""
    chosen = relaxed.argmax(scores, temperature)
    return {f"lights.lamp_{k}.intensity": 12 * share.expand(3) for k, share in enumerate(chosen)}
