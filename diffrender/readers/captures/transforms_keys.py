"""Keys of a transforms.json that say something of its pictures and are not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffrender.readers.captures.camera_models import CAMERA_MODELS

# What the reader takes, of all frames or of one.
READ = {
    *("frames", "file_path", "transform_matrix", "mask_path", "ignore_path", "time", "aabb"),
    *("normal_path", "depth_path", "depth_file_path", "integer_depth_scale"),
    *("w", "h", "cx", "cy", "fl_x", "fl_y", "camera_angle_x", "camera_angle_y", "camera_model", "is_fisheye"),
    *("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "exposure", "white_balance", "vignetting", "response"),
    *("train_filenames", "test_filenames", "val_filenames"),
}
# What says nothing of where pictures were taken and what they show: settings of other programs, and what they did.
SILENT = {
    *("applied_transform", "applied_scale", "aabb_scale", "scale", "offset", "from_na", "up", "render_aabb"),
    *("ply_file_path", "orientation_override", "colmap_im_id", "camera_id", "rotation", "sharpness", "name", "id"),
    *("n_extra_learnable_dims", "fps", "timestamp", "frame_id", "near", "far", "background", "bg_color", "version"),
}
MOST_TOLD = 8


def about_keys(content: Mapping[str, Any]) -> list[str]:
    """Return a note on the keys of a transforms.json, and of its frames, that are not read; none for empty values."""
    holders = [content, *(frame for frame in content["frames"] if isinstance(frame, Mapping))]
    found = [key for each in holders for key, value in each.items() if value not in (None, 0, "", [], {})]
    models = [CAMERA_MODELS.get(model) for each in holders if isinstance(model := each.get("camera_model"), str)]
    known = READ | SILENT | {name for model in models if model is not None for name in model.coefficients()}
    unread = [key for key in dict.fromkeys(found) if key not in known and not key.startswith(("_", "comment"))]
    if not unread:
        return []
    more = f" and {len(unread) - MOST_TOLD} more" if len(unread) > MOST_TOLD else ""
    return [f"keys of its file that are not read: {', '.join(unread[:MOST_TOLD])}{more}"]
