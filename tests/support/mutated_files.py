"""Small valid files of every format that is read, mutated, and what readers do with them.

As a program in `tests`, `python -m support.mutated_files FOLDER COUNT SEED [NAME...]` reads COUNT mutants of the files
with these names, or of all, and prints a JSON list of the failures. It is a process of its own, so that its memory can
be limited.
"""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
import trimesh
from PIL import Image
from support.colmap_files import write_capture, write_pictures, write_points
from support.gltf_files import GltfBuilder
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from diffrender.errors import DiffrenderError
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.gltf.scene import read_gltf_scene
from diffrender.readers.images.image import read_image
from diffrender.readers.images.masks import read_mask
from diffrender.readers.meshes.read_mesh import read_mesh, read_mesh_parts

SECONDS = 2
BYTES = 768 << 20
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
NUMBERS = [b"4000000000", b"-4000000000", b"1e39", b"1e400", b"nan", b"NaN", b"-1", b"0", b"0.5", b"300", b"9" * 30]
NUMBERS += [b"null", b'"a"', b"[]", b"{}", b"true", b""]
WORDS = [struct.pack("<i", word) for word in (0, 1, -1, 2**31 - 1, -(2**31), 4_000_000_000 - 2**32)]
WORDS += [struct.pack("<f", word) for word in (1e38, np.nan, np.inf)]


class Case(NamedTuple):
    """Files that belong together. path: what is read, a file or a folder. others: what else is mutated."""

    path: Path
    others: tuple[Path, ...]
    read: tuple[Callable[[Path], Any], ...]


def _read_capture(path: Path) -> Any:
    return read_capture(path, CaptureOptions())


def _pictures(folder: Path) -> dict[str, Case]:
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 4), dtype=np.uint8)
    pictures = {
        "rgb": Image.fromarray(values[:, :, :3]),
        "rgba": Image.fromarray(values),
        "gray": Image.fromarray(values[:, :, 0]),
        "gray16": Image.fromarray(values[:, :, 0].astype(np.uint16) * 257),
        "palette": Image.fromarray(values[:, :, :3]).quantize(8),
    }
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
    pictures["rgb"].save(folder / "rgb.jpg")
    files = [*(f"{name}.png" for name in pictures), "rgb.jpg"]
    return {name: Case(folder / name, (), (read_image, read_mask)) for name in files}


def _meshes(folder: Path) -> dict[str, Case]:
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0.25], [0, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    colors = np.array([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [9, 9, 9, 255]], np.uint8)
    mesh = trimesh.Trimesh(corners, faces, vertex_colors=colors, process=False)
    for name, options in (("ascii.ply", {"encoding": "ascii"}), ("binary.ply", {}), ("binary.stl", {})):
        mesh.export(folder / name, **options)
    mesh.export(folder / "ascii.stl", file_type="stl_ascii")
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=np.uint8))
    picture.save(folder / "skin.png")
    (folder / "a.mtl").write_text("newmtl skin\nKd 1 0.5 0.25\nPr 0.5\nKe 0 1 2\nmap_Kd -s 2 2 1 skin.png\nnewmtl b\n")
    lines = ["mtllib a.mtl", *(f"v {x} {y} {z} {x} {y} 1" for x, y, z in corners), "v 0.5 0.5 1"]
    lines += [*(f"vt {x} {y}" for x, y, _ in corners), "vn 0 0 1", "usemtl skin", "f 1/1/1 2/2/1 3/3/1 4/4/1"]
    (folder / "a.obj").write_text("\n".join([*lines, "usemtl b", "o second", "f 1/1 2/2 -1/3"]) + "\n")
    visual = TextureVisuals(uv=corners[:, :2], material=PBRMaterial(baseColorTexture=picture, roughnessFactor=0.5))
    textured = trimesh.Trimesh(corners, faces, visual=visual, process=False)
    scene = trimesh.Scene([textured, mesh])
    scene.add_geometry(mesh, transform=trimesh.transformations.rotation_matrix(1, [0, 0, 1], [1, 2, 3]))
    scene.export(folder / "a.glb")
    _write_rare_glb(folder / "rare.glb", corners.astype(np.float32), faces.astype(np.uint16), (folder / "skin.png"))
    (folder / "rare.ply").write_text(RARE_PLY)
    (folder / "separate").mkdir()
    scene.export(folder / "separate" / "a.gltf")
    parts = read_mesh, read_mesh_parts
    separate = tuple(sorted(path for path in (folder / "separate").iterdir() if path.suffix != ".gltf"))
    return {
        "a.obj": Case(folder / "a.obj", (folder / "a.mtl", folder / "skin.png"), parts),
        "ascii.ply": Case(folder / "ascii.ply", (), (read_mesh,)),
        "binary.ply": Case(folder / "binary.ply", (), (read_mesh,)),
        "ascii.stl": Case(folder / "ascii.stl", (), (read_mesh,)),
        "binary.stl": Case(folder / "binary.stl", (), (read_mesh,)),
        "rare.ply": Case(folder / "rare.ply", (folder / "skin.png",), parts),
        "a.glb": Case(folder / "a.glb", (), (*parts, read_gltf_scene)),
        "rare.glb": Case(folder / "rare.glb", (), parts),
        "a.gltf": Case(folder / "separate" / "a.gltf", separate, (*parts, read_gltf_scene)),
    }


# Two pictures, texture coordinates of corners, colours of faces, a quad.
RARE_PLY = """ply
format ascii 1.0
comment TextureFile skin.png
comment TextureFile other.png
element vertex 4
property double x
property double y
property double z
property float quality
element face 2
property list uchar uint vertex_indices
property list uchar float texcoord
property int texnumber
property uchar red
property uchar green
property uchar blue
end_header
0 0 0 0.5
1 0 0 0.5
1 1 0.25 0.5
0 1 0 0.5
3 0 1 2 6 0 0 1 0 1 1 0 255 0 0
4 0 1 2 3 8 0 0 1 0 1 1 0 1 1 0 0 255
"""


def _write_rare_glb(path: Path, corners: np.ndarray, faces: np.ndarray, picture: Path) -> None:
    """Write a GLB with what most files do not have: sparse and quantised accessors, morph targets, instances."""
    gltf = GltfBuilder()
    sparse = {
        "count": 1,
        "indices": {"bufferView": gltf.view(np.array([1], np.uint16).tobytes()), "componentType": 5123},
        "values": {"bufferView": gltf.view(np.array([2, 0, 0], np.float32).tobytes())},
    }
    moved = {"KHR_texture_transform": {"offset": [0.5, 0], "rotation": 1, "scale": [2, 3], "texCoord": 1}}
    texture = {"index": gltf.texture(picture.read_bytes()), "extensions": moved}
    gltf.document["textures"][0]["sampler"] = gltf.add("samplers", {"wrapS": 33648, "wrapT": 33071})
    material = {
        "pbrMetallicRoughness": {"baseColorTexture": texture, "metallicRoughnessTexture": texture},
        "normalTexture": texture | {"scale": 0.5},
        "emissiveTexture": texture,
        "emissiveFactor": [1, 0.5, 0],
        "alphaMode": "MASK",
        "extensions": {
            "KHR_materials_specular": {"specularFactor": 0.5, "specularColorFactor": [1, 1, 0]},
            "KHR_materials_emissive_strength": {"emissiveStrength": 2},
        },
    }
    uvs = gltf.accessor((corners[:, :2] * 255).astype(np.uint8), normalized=True)
    primitive = gltf.primitive(
        gltf.accessor(corners, sparse=sparse), np.concatenate([faces[0], faces[1, 2:]]), mode=5,
        NORMAL=gltf.accessor((corners * 127).astype(np.int8), normalized=True), TEXCOORD_0=uvs, TEXCOORD_1=uvs,
        COLOR_0=corners, targets=[{"POSITION": gltf.accessor(corners)}], material=gltf.add("materials", material),
    )  # fmt: skip
    attributes = {"TRANSLATION": gltf.accessor(corners), "ROTATION": gltf.accessor(np.eye(4, dtype=np.float32))}
    gltf.node(primitive, weights=[0.5], extensions={"EXT_mesh_gpu_instancing": {"attributes": attributes}})
    gltf.document |= {"extensionsUsed": ["KHR_materials_ior", "KHR_texture_transform"], "animations": [{}]}
    gltf.write(path)


def _captures(folder: Path) -> dict[str, Case]:
    frames = []
    for index in range(2):
        values = np.random.default_rng(index).integers(0, 256, (6, 8, 4), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{index}.png")
        matrix = [[1.0, 0, 0, index], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]
        frames.append({"file_path": f"{index}.png", "transform_matrix": matrix, "exposure": 0.5})
    top = {"fl_x": 10.0, "fl_y": 12.0, "cx": 4.5, "cy": 2.5, "w": 8, "h": 6, "aabb": [[-1, -1, -1], [1, 1, 1]]}
    path = folder / "transforms.json"
    path.write_text(json.dumps({**top, "camera_model": "OPENCV", "k1": 0.1, "frames": frames}))
    cases = {"transforms.json": Case(path, (folder / "0.png",), (_read_capture,))}
    for kind in ("text", "binary"):
        model = write_capture(folder / kind, kind) / "sparse" / "0"
        write_points(model, kind, [(0.0, 1.0, 2.0), (3.0, -1.0, 0.5)])
        files = tuple(file for name in ("cameras", "images", "points3D") for file in (model.glob(f"{name}.*")))
        cases[f"colmap {kind}"] = Case(model, files, (_read_capture,))
    poses = np.eye(4)[None].repeat(2, 0)
    arrays = {"images": ["0.png", "1.png"], "K": np.diag([9.0, 9, 1]), "cam_from_world": poses, "convention": "llff"}
    np.savez(folder / "a.npz", **arrays, width=8)
    listed = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in arrays.items()}
    (folder / "a.json").write_text(json.dumps({**listed, "height": [6, 6]}))
    rows = [np.concatenate([np.array([[0, 1, 0, 1, 6], [-1, 0, 0, 2, 8], [0, 0, 1, 3, 9]]).ravel(), [1, 9]])] * 2
    llff = write_pictures(folder / "llff" / "images", {"0.png": 9, "1.png": 9}).with_name("poses_bounds.npy")
    np.save(llff, rows)
    return cases | {path.name: Case(path, (), (_read_capture,)) for path in (folder / "a.npz", folder / "a.json", llff)}


def write_cases(folder: Path) -> dict[str, Case]:
    """Write valid files of every format below `folder`."""
    cases: dict[str, Case] = {}
    for name, write in (("pictures", _pictures), ("meshes", _meshes), ("captures", _captures)):
        (folder / name).mkdir(parents=True)
        cases |= write(folder / name)
    return cases


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with one to four changes: bits, bytes, blocks, its end, numbers in text, words in binary."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, length = rng.randrange(len(result) + 1), rng.choice((1, 1, 4, 16, 64))
        match rng.randrange(8):
            case 0 if at < len(result):
                result[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(result):
                result[at] = rng.randrange(256)
            case 2:
                del result[at : at + length]
            case 3:
                result[at:at] = rng.randbytes(length)
            case 4:
                result[at:at] = result[at : at + length] * rng.choice((1, 1, 50))
            case 5 if rng.random() < 0.5:
                del result[at:]
            case 6:
                result[at : at + 4] = rng.choice(WORDS)
            case _:
                numbers = list(NUMBER.finditer(result))
                if numbers:
                    start, end = rng.choice(numbers).span()
                    result[start:end] = rng.choice(NUMBERS)
    return _repair(bytes(result)) if rng.random() < 0.5 else bytes(result)


def _repair(data: bytes) -> bytes:
    """Return a GLB whose first chunk has the length of its JSON, a PNG with right checksums; other files as they are.

    Readers would otherwise look no farther.
    """
    end = data.find(b"BIN\0") - 4
    if data.startswith(b"glTF") and end >= 20:
        return data[:8] + struct.pack("<II", len(data), end - 20) + data[16:]
    if not data.startswith(b"\x89PNG"):
        return data
    result, start = data[:8], 8
    while start + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        body = data[start + 4 : start + 8 + length]
        result += data[start : start + 4] + body + struct.pack(">I", zlib.crc32(body))
        start += 12 + length
    return result


def _stop(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


def read_mutants(folder: Path, count: int, seed: int, names: list[str]) -> list[dict[str, Any]]:
    """Read `count` mutants and return those that raise what is not a DiffrenderError, or take too long."""
    cases = write_cases(folder)
    failures = []
    rng = random.Random(seed)
    signal.signal(signal.SIGPROF, _stop)
    for case in cases.values():
        for read in case.read:
            read(case.path)
    resource.setrlimit(resource.RLIMIT_AS, (_virtual_memory() + BYTES, resource.RLIM_INFINITY))
    for number in range(count):
        name = rng.choice(names or list(cases))
        case = cases[name]
        victim = rng.choice((case.path, case.path, *case.others) if case.path.is_file() else case.others)
        read = rng.choice(case.read)
        original = victim.read_bytes()
        victim.write_bytes(mutate(original, rng))
        start = time.process_time()  # waiting for other processes does not count
        try:
            signal.setitimer(signal.ITIMER_PROF, 3 * SECONDS)
            read(case.path)
            error = ""
        except DiffrenderError:
            error = ""
        except BaseException:
            error = traceback.format_exc()
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - start
        if error or seconds > SECONDS:
            kept = folder / f"failure_{number}{victim.suffix}"
            shutil.copy(victim, kept)
            failures.append({"case": name, "file": str(kept), "seconds": round(seconds, 2), "error": error[-1500:]})
        victim.write_bytes(original)
    return failures


def _virtual_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # is for programs that take pictures from strangers
    found = read_mutants(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    print(json.dumps(found))
