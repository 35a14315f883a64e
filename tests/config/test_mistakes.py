"""Mistakes in scene files: each is found at its place, all at once, and says what is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.scene_mistakes import TARGETS, mistakes_in

# text below `targets:`, position of the mistake, fragments of the message
MISTAKES = [
    # keys
    ("optimise: {steps: 3}", "2:1", ["unknown key `optimise`", "did you mean `optimize`?"]),
    ("optimize: {stepz: 3}", "2:12", ["`stepz`", "did you mean `steps`?"]),
    ("optimize:\nsteps: 3", "3:1", ["`steps` belongs in `optimize`"]),
    ("mesh.vertices: {lr: 0.1}", "2:1", ["to optimise it: `optimize: {mesh.vertices"]),
    ("mesh: {subdivision: 3}", "2:8", ["unknown key `mesh.subdivision`", "did you mean `subdivisions`?"]),
    ("lights:\n- {type: ambient, name: a, radianc: 1}", "3:28", ["`lights.a.radianc`", "did you mean `radiance`?"]),
    ("mesh: {init: sphere}\nmesh: spot.obj", "3:1", ["duplicate key `mesh`", "line 2, column 1"]),
    ("mesh: {init:sphere}", "2:8", ["space after the colon: `init: ...`"]),
    ("optimize: {steps:300}", "2:12", ["space after the colon: `steps: ...`"]),
    ("pose: {rotation: {axis: [0, 1, 0]}}", "2:8", ["`pose.rotation` lacks `degrees`"]),
    (
        "lights: [{radiance: 1}]",
        "2:10",
        ["`lights[0]` lacks `type`: ambient, directional, point, spot, "],
    ),
    ("lights: [{type: point, shadow: {softnes: 1}}]", "2:33", ["did you mean `softness`?"]),
    ("lights: [{type: point, shadow: {softness: 2}}]", "2:43", ["softness", "2"]),
    ("lights: [{type: ambient, shadow: true}]", "2:26", ["shadow"]),
    ("lights: [{type: spot, outer_deg: 95}]", "2:34", ["outer_deg", "95"]),
    ("lights: [{type: point, frame: object}]", "2:31", ["the text `object`", "world", "camera"]),
    ("lights: [{type: environment, resolution: 20}]", "2:42", ["a multiple of 16"]),
    ("lights: [{type: environment, radiance: no.hdr}]", "2:40", ["no such file"]),
    ("lights: [{type: spherical_harmonics, coefficients: [[1, 2, 3]]}]", "2:52", ["9 or 16 rows [r, g, b]"]),
    ("material: {type: ggx, roughness: 1.5}", "2:34", ["1.5"]),
    ("material: {type: ggx, metallic: {vertx: 0.5}}", "2:33", ["did you mean `vertex`?"]),
    ("material: {type: lambert, normal: 0.5}", "2:35", ["{texture: file.png}"]),
    ("optimize: {material.normal: {}}\nmaterial: ggx", "2:12", ["unknown key or path `material.normal`"]),
    ("lights: [{typ: ambient}]", "2:10", ["write `type` instead of `typ`"]),
    ("optimize: {background: {levels: 2}}", "2:25", ["`levels` only applies to textures", "`background` is neither"]),
    ("optimize: {mesh.vertices: {method: zero_mean}}", "2:28", ["cannot have the method `zero_mean`"]),
    ("optimize: {mesh.vertices: {method: balanced}}", "2:28", ["balanced is for cameras.white_balance"]),
    (
        "lights: [{type: flashes, direction: [[0, 0, 1], [0, 1, 0]], radiance: [[1, 1, 1]]}]",
        "2:61",
        ["`radiance` has 1 rows, but `direction` has 2"],
    ),
    # types of values
    ("lights: [{type: spherical_harmonics, order: two}]", "2:45", ["must be 2 or 3, got the text `two`"]),
    ("optimize: {mesh.vertices: {lr: 1e-3x}}", "2:32", ["the text `1e-3x`", "a number above 0"]),
    ("optimize: {mesh.vertices: {lr: '1e-3'}}", "2:32", ["remove the quotes"]),
    ("optimize: {steps: 2.5}", "2:19", ["must be an integer of at least 1, got 2.5"]),
    ("optimize: {steps: true}", "2:19", ["must be an integer of at least 1, got true"]),
    ("optimize: 100", "2:11", ["must be a mapping with keys method, steps, ", "got 100"]),
    ("export: obj", "2:9", ["must be a list (obj, glb, ply)", "put `[ ]` around it"]),
    ("lights: {type: ambient}", "2:9", ["must be a list", "put `[ ]` around it"]),
    ("progress: {video: yes}", "2:19", ["must be true or false", "did you mean `true`?"]),
    ("background: [1, 2]", "2:13", ["the list [1, 2]", "a colour"]),
    ("background: red", "2:13", ["the text `red`", '"#rrggbb", black or white']),
    ("background: 202020", "2:13", ["got 202020", 'in hexadecimal it is "#rrggbb", in quotes']),
    ("background: '#12345'", "2:13", ["the text `#12345`", '"#rrggbb"']),
    ("background: #00b140", "2:1", ["#00b140 is a comment to YAML, so that there is no value", "put it in quotes"]),
    ("pose: {translation: [0, 1]}", "2:21", ["three numbers [x, y, z]"]),
    ("loss: l1", "2:7", ["must be a mapping with keys image, mask"]),
    # ranges
    ("optimize: {steps: 0}", "2:19", ["must be an integer of at least 1, got 0"]),
    ("optimize: {steps: -5}", "2:19", ["got -5"]),
    ("optimize: {pose: {lr: 0}}", "2:23", ["must be a number above 0, got 0", "learning rate"]),
    ("optimize: {pose: {lr: -1e-3}}", "2:23", ["got -0.001"]),
    ("optimize: {pose: {lr: .inf}}", "2:23", ["got inf"]),
    ("mesh: {subdivisions: 40}", "2:22", ["must be an integer from 0 to 8, got 40"]),
    ("material: {type: unlit, base_color: 2}", "2:37", ["between 0 and 1"]),
    ("background: -1", "2:13", ["of at least 0"]),
    ("loss: {symmetry: {normal: [0, 0, 0]}}", "2:27", ["not [0, 0, 0]"]),
    ("loss: {mask: -1}", "2:14", ["must be a number of at least 0, got -1"]),
    ("lights: [{type: directional, direction: [0, 0, 0]}]", "2:41", ["not [0, 0, 0]"]),
    ("mesh: {aabb: [[0, 0, 0], [1, 1, -1]]}", "2:14", ["each low below its high"]),
    # types and words
    (
        "material: {type: lambrt}",
        "2:18",
        ["must be lambert, phong, ", ", got the text `lambrt`", "did you mean `lambert`?"],
    ),
    ("mesh: {init: spere}", "2:14", ["did you mean `sphere`?"]),
    ("loss: {image: l3}", "2:15", ["must be l1, l2, "]),
    ("render: {edges: {type: soft, anneal: {sigma: [4]}}}", "2:39", ["sigma` lacks `1`"]),
    ("render: {edges: blurry}", "2:17", ["must be antialias, hard"]),
    ("render: {edges: {type: soft, sigma: 0.4}}", "2:37", ["must be a number of at least 0.5"]),
    ("render: {edges: {type: soft, anneal: {then: hard}}}", "2:45", ["must be antialias or soft"]),
    ("optimize: {pose: {schedule: cosin}}", "2:29", ["did you mean `cosine`?"]),
    ("optimize: {pose: {method: poes}}", "2:27", ["did you mean `pose`?"]),
    ("export: [obj, fbx]", "2:15", ["`export[1]` must be obj, glb or ply, got the text `fbx`"]),
    ("device: gpu", "2:9", ["must be auto, cpu, cuda"]),
    ("material: {type: unlit, base_color: {vertx: 1}}", "2:37", ["did you mean `vertex`?"]),
    # files
    ("mesh: spot.ob", "2:7", ["no such file", "did you mean `spot.obj`?", "folder of that file"]),
    ("mesh: {file: shots}", "2:14", ["must be a file, got the folder"]),
    # dotted paths
    ("optimize: {mesh.vertexs: {lr: 1}}", "2:12", ["did you mean `mesh.vertices`?"]),
    (
        "optimize: {lights.key.direction: {lr: 1}}",
        "2:12",
        ["unknown key or path", "known in `optimize`: method, steps"],
    ),
    ("optimize: {mesh: {vertices: {lr: 1}}}", "2:12", ["as one key: `mesh.vertices: {...}`"]),
    (
        "optimize: {method: levenberg_marquardt, pose: {lr: 0.1}}",
        "2:48",
        ["`lr` means nothing to `method: levenberg_marquardt`"],
    ),
    ("optimize: {method: levenberg_marquardt, batch_size: 2}", "2:41", ["`batch_size` means nothing"]),
    ("render: {edges: {type: soft, anneal: {until: 401}}}", "2:39", ["at step 401 of 400, which is never reached"]),
    (
        "render: {edges: {type: soft, anneal: {until: 9}}}\noptimize: {minutes: 1}",
        "2:39",
        ["`render.edges.anneal.until` counts steps, but their number follows from `minutes`"],
    ),
    ("optimize: {method: levenberg_marquardt, batch_size: 3}", "2:41", ["`batch_size` means nothing"]),
    ("optimize: {method: levenberg_marquardt, minutes: 2}", "2:41", ["`minutes` means nothing"]),
    ("optimize: {scale: 1, pose: {start: 500}}", "2:29", ["would never be optimised", "step 500 of 400"]),
    ("optimize: {minutes: 1, steps: 9}", "2:24", ["`steps` counts steps, but their number follows from `minutes`"]),
    ("optimize: {minutes: 1, resolution: {scale: 0.5, until: 9}}", "2:49", ["`resolution.until` counts steps"]),
    ("optimize: {minutes: 1, cameras.pose: {start: 500}}", "2:39", ["`cameras.pose.start` counts steps", "remove one"]),
    ("optimize: {mesh.vertices: {pull: 1}}", "2:28", ["`pull` is for cameras.pose and cameras.focal", "remove it"]),
    (
        "optimize: {cameras.pose: {shared: true}}",
        "2:27",
        ["`shared` is for cameras.focal and cameras.center", "remove"],
    ),
    ("optimize: {cameras.focal: {method: positive}}", "2:28", ["has a method only with `shared: false`", "remove it"]),
    ("optimize: {cameras.pose: {method: pose}}", "2:27", ["must have the method `camera_poses`", "got `pose`"]),
    ("optimize: {minutes: 1, mesh.vertices: {remesh: [9]}}", "2:40", ["`mesh.vertices.remesh` counts steps"]),
    ("optimize: {minutes: 0}", "2:21", ["must be a number above 0"]),
    ("optimize: {pose: 1, scale: {start: 9, stop: 9}}", "2:39", ["`stop` 9 is not after `start` 9"]),
    ("optimize: {pose: {start: 9}}", "2:1", ["nothing is optimised at step 0"]),
    ("optimize: {pose: {method: identity}}", "2:19", ["`pose` must have the method `pose`, got `identity`"]),
    (
        "optimize: {scale: {method: large_steps}}",
        "2:20",
        ["cannot have the method `large_steps`", "large_steps is for mesh.vertices"],
    ),
    ("optimize: {scale: {lambda: 3}}", "2:20", ["`lambda` only applies to `method: large_steps`"]),
    (
        "optimize: {mesh.vertices: {method: identity, solver: splu}}",
        "2:46",
        ["`solver` only applies to", "write `method: large_steps`"],
    ),
    (
        "optimize: {mesh.vertices: {levels: 2}}",
        "2:28",
        ["`levels` only applies to textures and environment maps, but `mesh.vertices` is neither", "remove it"],
    ),
    (
        "material: {type: lambert, base_color: {vertex: 0.5}}\noptimize: {material.base_color: {levels: 2}}",
        "3:34",
        ["`material.base_color` is neither"],
    ),
    ("optimize: {scale: {remesh: continuous}}", "2:20", ["`scale` cannot be remeshed", "mesh.vertices: {remesh"]),
    (
        "optimize: {mesh.vertices: {remesh: continuos}}",
        "2:36",
        ["remesh.when` must be continuous or [200, 400], got the text `continuos`", "did you mean `continuous`?"],
    ),
    ("optimize: {mesh.vertices: {remesh: [3, 400]}}", "2:28", ["after step 400 of 400 is too late"]),
    (
        "optimize: {mesh.vertices: {remesh: [3, 0]}}",
        "2:36",
        ["remesh.when[1]` must be an integer of at least 1, got 0"],
    ),
    (
        "optimize: {mesh.vertices: {remesh: {when: [3], every: 2}}}",
        "2:48",
        ["`every` cannot be combined with a list of steps"],
    ),
    ("optimize: {mesh.vertices: {remesh: {start: 5, stop: 4}}}", "2:47", ["`stop` 4 is not after `start` 5"]),
    (
        "optimize: {mesh.vertices: {remesh: {shortest: 2, longest: 1}}}",
        "2:37",
        ["`shortest` 2 is above `longest` 1"],
    ),
    ("optimize: {mesh.vertices: {remesh: {gain: 3}}}", "2:43", ["must be a number from 0 to 1"]),
    (
        "optimize: {mesh.vertices: {remesh: continuous}}\nloss: {arap: 1}",
        "3:8",
        ["compares with the triangles of the initial mesh, which `remesh` replaces", "remove one of them"],
    ),
    (
        "optimize: {mesh.vertices: {remesh: continuous}}\nrender: {edges: hard}",
        "2:28",
        ["`render.edges: hard`", "use antialias or soft edges"],
    ),
    (
        "optimize: {mesh.vertices: {lambda: -1}}",
        "2:36",
        ["`optimize.mesh.vertices.lambda` must be a number of at least 0, got -1", "spreads"],
    ),
    ("optimize: {mesh.vertices: {lambd: 1}}", "2:28", ["unknown key", "did you mean `lambda`?"]),
    ("optimize: {mesh.vertices: {solver: lu}}", "2:36", ["must be auto, cholesky or splu"]),
    ("optimize: {mesh.vertices: {optimizer: adm}}", "2:39", ["did you mean `adam`?"]),
    (
        "optimize: {mesh.vertices: {betas: [0.9, 1]}}",
        "2:41",
        ["betas[1]` must be a number from 0 and below 1, got 1", "running means"],
    ),
    ("optimize: {pose: 1, objects.object.pose: 1}", "2:21", ["are the same value"]),
    (
        "lights: [{name: a, type: ambient}]\nmaterial: unlit\noptimize: {lights.a.radiance: 1}",
        "4:12",
        ["has no effect", "type: lambert"],
    ),
    (
        "optimize: {mesh.vertices: 1, cameras.exposure: {method: identity}}",
        "2:49",
        ["must have the method `zero_mean`, got `identity`"],
    ),
    (
        "optimize: {pose: {method: balanced}}",
        "2:19",
        ["must have the method `pose`, got `balanced`", "cameras.white_balance"],
    ),
    (
        "lights: [{name: a, type: flashes}]\nmaterial: lambert\noptimize: {lights.a.radiance: 1, cameras.exposure: 1}",
        "4:34",
        ["`cameras.exposure` cannot be combined with `lights.a.radiance`", "remove one"],
    ),
    # options that exclude each other
    ("objects: [{name: a}]\nmesh: spot.obj", "3:1", ["`mesh` cannot be combined with `objects`"]),
    ("objects: [{name: a}, {name: a}]", "2:23", ["entries [0] and [1] are both named `a`"]),
    ("objects: [{name: a}, {name: A}]", "2:23", ["the names `a` and `A` of entries [0] and [1] differ in case alone"]),
    ("objects: [{name: a.b}]", "2:18", ["`a.b`"]),
    ("objects: [{name: arm/left}]", "2:18", ["`arm/left`", "without spaces, dots and any of /"]),
    ("objects: [{name: 'arm\\left'}]", "2:18", ["without spaces, dots and any of /"]),
    (f"objects: [{{name: {'n' * 61}}}]", "2:18", ["of up to 60 characters"]),
    ("lights: [ambient, ambient]", "2:19", ["are both named `ambient`", "`name:`"]),
    ("mesh: {aabb: [[0, 0, 0], [1, 1, 1]], radius: 1}", "2:38", ["`radius` cannot be combined with `aabb`"]),
    (
        "mesh: {init: ellipsoid, aabb: [[0, 0, 0], [1, 1, 1]], radii: [1, 1, 1]}",
        "2:55",
        ["`radii` cannot be combined with `aabb`"],
    ),
    ("mesh: {init: box, size: [1, 0, 1]}", "2:25", ["three numbers above 0"]),
    ("mesh: {init: visual_hull, components: most}", "2:39", ["must be needed, largest or all"]),
    (
        "objects: [{name: a, mesh: {init: visual_hull}}, {name: b, mesh: {init: visual_hull}}]",
        "2:66",
        ["only one object can be a `visual_hull`", "another shape"],
    ),
    ("mesh: {init: torus, tube: 0.9}", "2:21", ["leaves no hole"]),
]


@pytest.mark.parametrize(("text", "place", "fragments"), MISTAKES, ids=[text for text, _, _ in MISTAKES])
def test_each_mistake_is_found_at_its_place(folder: Path, text: str, place: str, fragments: list[str]) -> None:
    (mistake,) = mistakes_in(TARGETS + text + "\n", folder)
    assert mistake.startswith(f"scene.yaml:{place}: ")
    for fragment in fragments:
        assert fragment in mistake
    # The line is quoted, with the caret below the position.
    line, column = map(int, place.split(":"))
    quoted, caret = mistake.splitlines()[1:3]
    assert quoted == f"{line:5d} | {(TARGETS + text).splitlines()[line - 1]}"
    assert caret.index("^") == len("      | ") + column - 1


def test_a_misspelt_type_hides_no_mistake_elsewhere_and_makes_no_other(folder: Path) -> None:
    text = """
objects: [{name: a, mesh: {init: spere, sise: 1}, material: gxg}, {name: b, material: {type: ggx, metallic: 7}}]
lights: [{type: directionl, radiance: -1}, {type: ambient, radiance: -1}]
loss: {image: {type: l3}, laplacian: -1}
optimize: {lights.directional.radiance: {lr: 0}, objects.b.material.metallic: {lr: -2}}
"""
    lines = text.splitlines()
    wrong = {1: ("spere", "gxg", "7"), 2: ("directionl", "-1}]"), 3: ("l3", "-1"), 4: ("0", "-2")}
    places = [f"scene.yaml:{line + 1}:{lines[line].index(each) + 1}" for line, found in wrong.items() for each in found]
    assert [mistake.split(": ")[0] for mistake in mistakes_in(TARGETS + text.lstrip(), folder)] == places


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(folder: Path) -> None:
    text = "\n".join(
        text for text in (TARGETS.strip(), "meshh: 1", "device: gpu", "optimize: {steps: 0, poze: 1}", "mesh: 3")
    )
    places = [mistake.split(": ")[0] for mistake in mistakes_in(text, folder, "lossy=1", "background=red")]
    assert places == [
        "scene.yaml:2:1",
        "scene.yaml:3:9",
        "scene.yaml:4:19",
        "scene.yaml:4:22",
        "scene.yaml:5:7",
        "--set",
        "--set",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "must be a mapping"),
        ("hello\n", "must be a mapping (`key: value` lines), got the text `hello`"),
        ("mesh: spot.obj\n", "lacks `targets`"),
        ("targets:\n", "`targets` lacks `path` or `synthetic`"),
        ("targets: {pth: shots}\n", "did you mean `path`?"),
        (
            "targets: {path: shots, background: random}\noptimize: {method: levenberg_marquardt}\n",
            "compares the same pictures at each step",
        ),
        ("targets: {path: shots, fps: 10, missing: skip}\n", "`fps` counts all pictures"),
        ("targets: {path: shots, synthetic: {}}\n", "both `path` and `synthetic`"),
        ("targets: {path: shoots}\n", "did you mean `shots`?"),
        ("targets: {path: shots, test_every: 1}\n", "an integer of at least 2"),
        ("targets: {path: shots, masks: false}\nloss: {mask: 1}\n", "needs masks"),
        ("targets: {path: shots, masks: false, shrink_masks: 2}\n", "`shrink_masks` needs masks"),
        ("targets: {path: shots, shrink_masks: -1}\n", "above 0"),
        ("targets: {synthetic: {}, shrink_masks: 2}\n", "`shrink_masks` is for photographs"),
        ("targets: {synthetic: {objects: [{name: a}], mesh: spot.obj}}\n", "`mesh` cannot be combined with `objects`"),
        ("targets: {synthetic: {elevation_deg: [30, -30]}}\n", "the lower one first"),
    ],
)
def test_mistakes_about_the_whole_and_the_targets(folder: Path, text: str, words: str) -> None:
    (mistake,) = mistakes_in(text, folder)
    assert mistake.startswith("scene.yaml:1:") or mistake.startswith("scene.yaml:2:")
    assert words in mistake
