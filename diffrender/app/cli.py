"""The command line."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffrender.app.command_errors import FAILED, INTERRUPTED, STOPPED, errors_in_one_line, run_command

if TYPE_CHECKING:
    from diffrender.app.run import RunResult
    from diffrender.config.overrides import Override

app = typer.Typer(
    name="diffrender",
    help="Differentiable mesh rendering: images in; mesh, materials, lights and cameras out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(is_given: bool) -> None:
    if is_given:
        from importlib.metadata import version

        typer.echo(f"diffrender {version('diffrender')}")
        raise typer.Exit


class BakeTarget(str, Enum):
    """Where `bake` moves the colours."""

    texture = "texture"
    vertices = "vertices"


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Accept `--version`."""


@app.command()
def fit(
    scene: Annotated[
        Path | None,
        typer.Argument(
            help="Scene file; or a capture, as a folder of photographs with their cameras, to fit it as is best. With"
            " --resume, the run's own if omitted.",
            metavar="SCENE.YAML",
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a value of the scene file: --set optimize.mesh.vertices.lr=1e-3. May be repeated."
            " File names are relative to the working folder.",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device: auto, cpu, cuda or cuda:1.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Root folder of the results, written to OUT/<scene>/<time>/. Default: outputs."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the order of views and of random backgrounds.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Resume the run in this folder from its last checkpoint, as if it had never stopped. A finished run is"
            " continued if --steps is larger.",
        ),
    ] = None,
    no_programs: Annotated[
        bool, typer.Option("--no-programs", help="Refuse scene files with programs, which are code that would run.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 3 if the verdict is failed.")] = False,
) -> None:
    """Fit a scene to its target images, and judge the result: good, doubtful or failed, with reasons.

    Ctrl-C or SIGTERM ends the fit early and writes the results so far (exit status 130 or 143); --resume continues it.
    """
    if scene is None and resume is None:
        raise typer.BadParameter("give a scene file, or --resume with the folder of a run", param_hint="SCENE.YAML")
    if resume is not None and out is not None:
        raise typer.BadParameter("a resumed run stays in its own folder; omit --out", param_hint="--out")
    with errors_in_one_line():
        result = _load_and_run(scene, set_ or [], device, out or Path("outputs"), seed, steps, resume, no_programs)
    if result.fit.stop_reason == "interrupted":
        raise typer.Exit(INTERRUPTED)
    if result.fit.stop_reason != "finished":
        typer.echo(f"error: {result.fit.message}", err=True)
        raise typer.Exit(STOPPED)
    if strict and result.metrics["verdict"] == "failed":
        raise typer.Exit(FAILED)


@app.command()
def check(
    scene: Annotated[
        Path, typer.Argument(help="Scene file; or a capture, as a folder or its file.", metavar="SCENE.YAML")
    ],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a value, as of `fit`.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the pictures. Default: outputs/<scene>/check.")] = None,
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write all numbers to this file.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device: auto, cpu, cuda or cuda:1.")] = None,
    no_programs: Annotated[
        bool, typer.Option("--no-programs", help="Refuse scene files with programs, which are code that would run.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 3 if the verdict is failed.")] = False,
) -> None:
    """Say in seconds whether a capture will work, and what is wrong: masks and cameras against each other, the start.

    The usual mistakes, such as flipped axes, are tried out.
    """
    with errors_in_one_line():
        from rich.console import Console

        from diffrender.app.new_scene import load_scene

        config, name, _ = load_scene(scene, _overrides(set_ or [], {"device": ("device", device)}), no_programs)
        from diffrender.app.check.check_capture import check_capture

        verdict = check_capture(config, name, out or Path("outputs") / name / "check", Console(), json_)
    if strict and verdict.word == "failed":
        raise typer.Exit(FAILED)


@app.command()
def new(
    capture: Annotated[
        Path, typer.Argument(help="Capture: a folder of photographs with their cameras, or the file of these.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="SCENE.YAML", help="File to write. Default: scene.yaml in the folder.")
    ] = None,
) -> None:
    """Write a scene file for a capture, with what was found in it and what can be chosen, to be edited and fitted."""
    with errors_in_one_line():
        from diffrender.app.new_scene import write_new_scene

        file, text = write_new_scene(capture, out)
    typer.echo(f"{text}\nwrote {file}")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Mesh file: .obj, .ply, .glb, .gltf or .stl.", metavar="A.OBJ")],
    second: Annotated[Path, typer.Argument(help="Mesh file to compare it with.", metavar="B.OBJ")],
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write all numbers to this file.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Sample points per surface.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed of the sample points.")] = 0,
) -> None:
    """Measure the distance between two meshes, and the defects of each."""
    with errors_in_one_line():
        from rich.console import Console

        from diffrender.app.compare_mesh_files import compare_files

        compare_files(first, second, Console(), json_, samples, seed)


@app.command()
def inspect(
    path: Annotated[
        Path,
        typer.Argument(help="Mesh file, or capture: a folder, or its file (transforms.json, .npz).", metavar="FILE"),
    ],
) -> None:
    """Show what a mesh file or a capture holds, what is used of it, and what is wrong with it."""
    with errors_in_one_line():
        from rich.console import Console

        from diffrender.app.inspect_file import inspect_file

        inspect_file(path, Console())


@app.command()
def relight(
    run: Annotated[Path, typer.Argument(help="Folder of a run, such as outputs/<scene>/latest.", metavar="RUN")],
    env: Annotated[
        Path | None, typer.Option(metavar="FILE.HDR", help="Environment map: .hdr, .exr or any image.")
    ] = None,
    rotation: Annotated[float, typer.Option(metavar="DEGREES", help="Rotate the environment about +y.")] = 0.0,
    light: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIGHT",
            help="A light as in a scene file: --light '{type: directional, direction: [1, -1, 0], radiance: 3}'."
            " May be repeated.",
        ),
    ] = None,
    exposure: Annotated[float, typer.Option(metavar="STOPS", help="Exposure of the pictures.")] = 0.0,
    tone: Annotated[str, typer.Option(help="Light brighter than 1: clip cuts it off, neutral compresses it.")] = "clip",
    out: Annotated[Path | None, typer.Option(help="Folder of the pictures. Default: RUN/relight.")] = None,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda or cuda:1.")] = "auto",
) -> None:
    """Render a fitted scene under other lights: pictures from its cameras and a turntable video."""
    with errors_in_one_line():
        from diffrender.app.relight import relight_run
        from diffrender.imaging.tone_mapping import Display

        folder = relight_run(run, env, light or [], rotation, out, device, Display(exposure, tone))
    typer.echo(f"relit: {folder}")


@app.command()
def bake(
    mesh: Annotated[Path, typer.Argument(help="Mesh file: .obj, .ply, .glb, .gltf or .stl.", metavar="MESH.OBJ")],
    to: Annotated[BakeTarget, typer.Option(help="Where to move the colours.")],
    out: Annotated[
        Path | None, typer.Option(help="New file, .glb, .obj or .ply. Default: MESH_texture.glb or MESH_vertices.glb.")
    ] = None,
    resolution: Annotated[int, typer.Option(min=1, max=16384, help="Texels along each side.")] = 512,
    unwrap: Annotated[
        bool, typer.Option("--unwrap", help="Make new texture coordinates even if the mesh has some.")
    ] = False,
) -> None:
    """Move the colours of a mesh from its vertices into a texture, or from its texture into vertices."""
    with errors_in_one_line():
        from rich.console import Console

        from diffrender.app.bake_colors import bake_file

        typer.echo(f"wrote {bake_file(mesh, to.value, out, resolution, unwrap, Console())}")


@app.command()
def options(
    about: Annotated[
        str,
        typer.Argument(
            help="Only sections with this in their path, such as loss or lights; params: all that can be learned.",
            metavar="[KEY]",
        ),
    ] = "",
) -> None:
    """List all options of a scene file, with their defaults."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from diffrender.config.options_reference import sections

    found = sections(about)
    if not found:
        typer.echo(
            f"error: no section of a scene file matches {about!r}; `diffrender options` lists them all", err=True
        )
        raise typer.Exit(STOPPED)
    console = Console()
    for section in found:
        first, *others = section.places
        console.print(f"\n[bold]{escape(first or 'scene.yaml')}[/]  {escape(section.meaning)}")
        if others:
            console.print(f"[dim]also {escape(', '.join(others))}[/]")
        table = Table("key", "accepts", "default", "meaning", box=box.SIMPLE_HEAD, pad_edge=False)
        for option in section.options:
            table.add_row(*map(escape, (option.key, option.accepts, option.default, option.meaning)))
        console.print(table)


@app.command()
def schema() -> None:
    """Print the JSON schema of scene files, for completion and checks in editors."""
    import json

    from diffrender.config.json_schema import scene_schema

    typer.echo(json.dumps(scene_schema(), indent=1, ensure_ascii=False))


@app.command()
def warmup() -> None:
    """Compile all CPU kernels now, so that the first fit does not wait for them."""
    with errors_in_one_line():
        from diffrender.app.warmup import warmup as compile_kernels

        typer.echo(f"all CPU kernels are ready, {compile_kernels():.1f} s")


def _overrides(sets: list[str], options: dict[str, tuple[str, object]]) -> list[Override]:
    """Return the overrides of --set and of other options: key of the scene file -> (option, value)."""
    from diffrender.config.overrides import Override

    given = [Override(key, str(value), f"--{option}") for key, (option, value) in options.items() if value is not None]
    return [*(Override.parse(text) for text in sets), *given]


def _load_and_run(
    scene: Path | None,
    sets: list[str],
    device: str | None,
    out: Path,
    seed: int | None,
    steps: int | None,
    resume: Path | None,
    no_programs: bool,
) -> RunResult:
    # torch takes seconds to import: mistakes in the scene file are reported before that.
    from diffrender.app.new_scene import load_scene

    options = {"device": ("device", device), "optimize.seed": ("seed", seed), "optimize.steps": ("steps", steps)}
    overrides = _overrides(sets, options)
    run_name = None
    if resume is not None:
        from diffrender.app.earlier_run import RESOLVED, find_run, scene_name

        folder = find_run(resume)
        scene, run_name = scene or folder.path / RESOLVED, scene_name(folder)
    assert scene is not None
    config, name, file = load_scene(scene, overrides, no_programs)

    from diffrender.app.run import run_fit

    return run_fit(config, run_name or name, file, out, resume=resume)


def fit_scene() -> None:
    """Run the command `fit` alone, for scripts/fit_scene.py."""
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command()(fit)
    run_command(single)


def main() -> None:
    """Run the command `diffrender`."""
    run_command(app)


if __name__ == "__main__":
    sys.exit(main())
