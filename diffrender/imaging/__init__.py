"""Image processing without files or scenes: colour spaces, tone mapping, filters, inpainting and metrics."""
