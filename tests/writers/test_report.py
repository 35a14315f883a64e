from __future__ import annotations

import base64
import io
import math
import re
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffrender.errors import DataError
from diffrender.writers.report.report import (
    MOST_PICTURES,
    MOST_ROWS,
    WIDEST,
    LearnedValue,
    Report,
    Score,
    Table,
    write_report,
)

VOID = {"meta", "img", "link", "br", "hr", "input"}
REPORT = Report(
    scene="dino",
    started=datetime(2026, 11, 23, 9, 30),
    verdict="good",
    reasons=[],
    headline="Finished after 400 of 400 steps",
    summary="Judged by the 2 views that the fit never saw.",
    notes=[],
    scores=[Score("held-out PSNR", "dB", 12.34, 29.87), Score("held-out mask IoU", "", 0.61, 0.9712)],
    other_scores=[Score("fitted views, PSNR", "dB", math.nan, 31.0)],
    views=Table(["view", "PSNR"], [["000.png", "28.1 dB"], ["008.png", "31.4 dB"]]),
    pictures=[],
    shape=None,
    worst=None,
    curves=None,
    learned=[
        LearnedValue("lights.key.radiance", "1, 1, 1", "3.1, 3, 2.9", "", "#ffffff", "#ffeedd"),
        LearnedValue("mesh.vertices", "", "", "2,562 vertices; moved by 0.1 on average, at most 0.4"),
    ],
    mesh_facts=[(True, "Watertight; it encloses a volume of 0.5."), (False, "3 slivers.")],
    objects=[("ball", "42 vertices")],
    timing=[("whole run", "46.1 s")],
    files=[("the fitted mesh", "mesh/final.glb"), ("the scene file", "scene.yaml")],
    command="diffrender fit scenes/photographs.yaml",
)


class Page(HTMLParser):
    """The tags of a page, whether they are nested soundly, what they refer to, and the text that is read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[tuple[str, str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        names = ("src", "href", "srcset", "poster", "data", "action")
        self.references += [(name, value or "") for name, value in attrs if name in names]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words += " " + " ".join(data.split())


def picture(path: Path, width: int = 40, height: int = 30, value: int = 0) -> Path:
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)
    return path


def written(tmp_path: Path, report: Report) -> str:
    write_report(tmp_path / "report.html", report)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def with_pictures(tmp_path: Path, count: int) -> Report:
    pictures = [(f"step {k}", picture(tmp_path / f"step_{k:05d}.png", value=10 * k)) for k in range(count)]
    return replace(REPORT, pictures=pictures, curves=picture(tmp_path / "curves.png", 60, 20, 255))


def test_the_page_parses_and_says_everything(tmp_path: Path) -> None:
    page = Page(written(tmp_path, with_pictures(tmp_path, 3)))
    for said in (
        "dino", "2026-11-23 09:30", "Finished after 400 of 400 steps", "Judged by the 2 views", "29.9 dB",
        "initially 12.3 dB", "0.971", "initially 0.61", "31.0 dB", "step 2", "lights.key.radiance",
        "3.1, 3, 2.9", "2,562 vertices", "Watertight; it encloses a volume of 0.5.", "3 slivers.", "ball",
        "42 vertices", "46.1 s", "000.png", "28.1 dB", "Blender", "glTF 2.0",
        "diffrender fit scenes/photographs.yaml", "the scene file",
    ):  # fmt: skip
        assert said in page.words, said
    assert re.search(r"fitted views, PSNR +- +31\.0 dB", page.words)
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "li"]
    assert classes == ["good", "doubtful"]


def test_nothing_outside_is_asked_for(tmp_path: Path) -> None:
    text = written(tmp_path, with_pictures(tmp_path, 3))
    links = {place for _, place in REPORT.files}
    for name, value in Page(text).references:
        assert value.startswith("data:image/webp;base64,") if name != "href" else value in links, (name, value[:80])
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|<link|<iframe", text)


def test_pictures_are_inside_once_each_and_not_too_many(tmp_path: Path) -> None:
    text = written(tmp_path, with_pictures(tmp_path, 24))
    shown = re.findall(r'<button type="button" title="([^"]+)"', text)
    assert len(shown) == MOST_PICTURES and shown[0] == "step 0" and shown[-1] == "step 23"
    assert text.count("data:image/webp;base64,") == MOST_PICTURES + 2
    assert text.count('aria-current="true"') == 1
    wide = picture(tmp_path / "wide.png", 5000, 50)
    page = Page(written(tmp_path, replace(REPORT, pictures=[("step 0", wide)])))
    source = next(value for name, value in page.references if name == "src")
    assert Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).size == (WIDEST, WIDEST // 100)


def test_shape_and_worst_views_are_shown_and_a_long_table_is_folded(tmp_path: Path) -> None:
    rows = [[f"{index:03d}.png", f"{20 + index}.0 dB"] for index in range(MOST_ROWS + 2)]
    shown = {name: picture(tmp_path / f"{name}.png") for name in ("shape", "worst")}
    text = written(tmp_path, replace(REPORT, views=Table(["view", "PSNR"], rows), **shown))
    assert text.count("data:image/webp;base64,") == 2
    before, _ = text.split("<details>")
    assert before.index("The shape") < before.index("All views")
    assert f"{MOST_ROWS - 1:03d}.png" in before and f"{MOST_ROWS:03d}.png" not in before
    words = Page(text).words
    assert "The other 2" in words and all(row[0] in words for row in rows)
    assert "<details>" not in written(tmp_path, REPORT)


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    bare = replace(REPORT, files=[("the fitted mesh", "mesh/final.obj")], learned=[], other_scores=[], objects=[])
    words = Page(written(tmp_path, bare)).words
    assert (
        "How it went" not in words
        and "The shape" not in words
        and "Curves" not in words
        and "Other scores" not in words
    )
    assert "Wavefront" in words and "glTF" not in words
    assert "Blender" not in Page(written(tmp_path, replace(bare, files=[]))).words


@pytest.mark.parametrize("verdict", ["good", "doubtful", "failed"])
def test_the_verdict_comes_first_with_its_reasons(tmp_path: Path, verdict: str) -> None:
    reasons = [("The loss is NaN", "Lower lr"), ("Another", "")]
    page = Page(written(tmp_path, replace(REPORT, verdict=verdict, reasons=reasons, notes=["mind it"])))
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "p"]
    assert classes[:6] == ["quiet", f"verdict {verdict}", *[f"reason {verdict}"] * 2, "headline", "summary"]
    said = [
        page.words.index(words) for words in (verdict, "The loss is NaN. Lower lr.", "Another", "Finished", "mind it")
    ]
    assert said == sorted(said)


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    nasty = '<script>alert("x")</script>'
    page = Page(written(tmp_path, replace(REPORT, scene=nasty, objects=[(nasty, nasty)], command=nasty)))
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert page.words.count(nasty) >= 3


def test_files_that_cannot_be_read_or_written_are_told(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cannot read the picture .*broken\.png"):
        write_report(tmp_path / "report.html", replace(REPORT, curves=tmp_path / "broken.png"))
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(DataError, match="cannot write"):
        write_report(tmp_path / "broken.png" / "report.html", REPORT)
