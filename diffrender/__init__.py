"""Differentiable mesh rendering and inverse rendering in PyTorch.

Names are loaded when they are first used, so that `import diffrender` and `--help` do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Public name -> the module that it lives in, and its name there where that is another: `render` and `fit` are packages.
_HOME = {
    "Cameras": "diffrender.scene.cameras",
    "Mesh": "diffrender.scene.mesh",
    "Object": "diffrender.scene.object",
    "Scene": "diffrender.scene.scene",
    "Motion": "diffrender.scene.motion",
    "Texture": "diffrender.scene.textures.texture",
    "Views": "diffrender.scene.target_views",
    "Material": "diffrender.scene.material",
    **dict.fromkeys(("Lambert", "Phong", "Ggx", "Unlit"), "diffrender.scene.materials"),
    "Light": "diffrender.scene.light",
    **dict.fromkeys(
        ("Ambient", "Directional", "Point", "Spot", "SphericalHarmonics", "Environment"), "diffrender.scene.lights"
    ),
    "EnvMap": "diffrender.scene.environment.env_map",
    "render_scene": "diffrender.render.render:render",
    "render_supersampled": "diffrender.render.supersample",
    "Recorded": "diffrender.recorded",
    "compare_colors": "diffrender.ops.compare_colors",
    "threads_to_kernels": "diffrender.threads",
    "RenderOutput": "diffrender.render.render",
    "EdgeModel": "diffrender.render.edge_model",
    **dict.fromkeys(("Antialias", "Hard", "Soft"), "diffrender.render.edge_models"),
    "remesh": "diffrender.geometry.remesh.remesh",
    **dict.fromkeys(("read_mesh", "read_mesh_parts"), "diffrender.readers.meshes.read_mesh"),
    "read_image": "diffrender.readers.images.image",
    "read_transforms": "diffrender.readers.captures.transforms_json",
    "read_capture": "diffrender.readers.captures",
    "CaptureOptions": "diffrender.readers.captures.capture",
    **dict.fromkeys(("to_opencv_axes", "from_opencv_axes"), "diffrender.geometry.camera_axes"),
    **dict.fromkeys(("write_glb", "GlbObject"), "diffrender.writers.gltf.scene"),
    "write_obj": "diffrender.writers.meshes.obj",
    "write_ply": "diffrender.writers.meshes.ply",
    "write_png": "diffrender.writers.images.png",
    "write_colmap": "diffrender.writers.colmap",
    "SceneModel": "diffrender.fit.model",
    **dict.fromkeys(("Objective", "Term"), "diffrender.fit.objective"),
    **dict.fromkeys(("FitOptimizer", "ParamSettings"), "diffrender.fit.optimizer.fit_optimizer"),
    **dict.fromkeys(("Program", "Parameter"), "diffrender.fit.program"),
    "fit_program": "diffrender.fit.fit_program",
    "checkpointed_loop": "diffrender.fit.checkpointed_loop",
    **dict.fromkeys(("relaxed", "bridges", "custom_gradient"), "diffrender.programs"),
    "FitSettings": "diffrender.fit.loop",
    "fit_scene": "diffrender.fit.loop:fit",
    "evaluate_views": "diffrender.evaluate.views",
    "load_config": "diffrender.config.load",
    "build_fit": "diffrender.setup.fit_setup",
    "run_fit": "diffrender.app.run",
    "compare_meshes": "diffrender.evaluate.compare_meshes",
    "check_mesh": "diffrender.geometry.mesh_checks",
    **dict.fromkeys(("SurfaceQuery", "surface_distance"), "diffrender.geometry.distances"),
    **dict.fromkeys(("DiffrenderError", "ConfigError", "DataError", "ShapeError", "MeshError"), "diffrender.errors"),
    **dict.fromkeys(("BackendError", "FitError", "ProgramError", "PrecisionWarning"), "diffrender.errors"),
    **dict.fromkeys(("NearPlaneWarning", "OrientationWarning", "NotFiniteWarning"), "diffrender.errors"),
}
__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'diffrender' has no attribute {name!r}")
    module, _, name_there = _HOME[name].partition(":")
    value = getattr(import_module(module), name_there or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
