"""The tools of this repository that only its workflows use."""

import io
import re
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from conftest import OPTIONS, ROOT, TEMPLATE, Bake

sys.path.insert(0, str(ROOT / "tools"))

from release_notes import notes
from sizes import Size, find_aim, measure
from try_image import KEY, unwanted

CHANGELOG = "# Changelog\n\n## Unreleased\n\n- New.\n\n## 1.2.0 (2026-01-01)\n\n- Old.\n\n## 1.1.0\n\n"


def tar(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return kept.getvalue()


Search = Callable[[Mapping[str, bytes]], list[str]]


@pytest.fixture
def search(tmp_path: Path) -> Search:
    def found(files: Mapping[str, bytes]) -> list[str]:
        path = tmp_path / "image.tar"
        path.write_bytes(tar(files))
        return unwanted(path, KEY)

    return found


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_key_in_a_layer_is_found(search: Search, mode: str) -> None:
    layer = tar({"opt/venv/lib/a.py": b"x", "root/.netrc": f"password {KEY}".encode()}, mode)
    assert search({"blobs/one": layer}) == ["root/.netrc: the key"]


def test_a_key_in_the_history_is_found(search: Search) -> None:
    assert search({"config.json": f'{{"history": "ENV A={KEY}"}}'.encode()}) == ["config.json: the key"]


def test_what_a_stage_leaves_over_is_found_and_nothing_else(search: Search) -> None:
    good = {"opt/venv/bin/train": b"", "opt/venv/lib/torch/include/uv": b"", "workspace/runs/x": b""}
    assert search({"blobs/one": tar(good)}) == []
    bad = {"app/tests/test_a.py": b"", "usr/local/bin/uv": b"", "workspace/.env": b"A=1", "cache/uv/a": b""}
    assert len(search({"blobs/one": tar(bad)})) == len(bad)


def test_release_notes_are_the_section_of_the_version() -> None:
    assert notes(CHANGELOG, "1.2.0") == "- Old."
    for version in ("1.1.0", "1.3.0", "1.2"):
        with pytest.raises(ValueError, match=version):
            notes(CHANGELOG, version)


def test_the_size_of_a_project_is_its_lines_modules_and_top_level_entries(tmp_path: Path) -> None:
    for name, lines in {
        "src/own/__init__.py": 1,
        "src/own/py.typed": 0,
        "src/own/train.py": 30,
        "src/own/data/__init__.py": 1,
        "src/own/data/images.py": 8,
        "src/own/configs/train.yaml": 99,
        "tests/test_training.py": 20,
        "tests/tracking/test_runs.py": 5,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n" * lines)
    assert measure(tmp_path) == Size(lines=40, modules=4, entries=3, test_lines=25)
    assert find_aim("detection", "complete", use_wandb=True) == 6600
    assert find_aim("classification", "essential", use_wandb=False) == 1800


@pytest.mark.parametrize("scope", OPTIONS["scope"])
def test_the_prompt_tells_the_price_of_a_scope_in_lines(bake: Bake, scope: str) -> None:
    label = TEMPLATE["__prompts__"]["scope"][scope]
    told = [int(number.replace(",", "")) for number in re.findall(r"\d+,\d{3}", label)]
    lines = [measure(bake(task=task, scope=scope).folder).lines for task in OPTIONS["task"]]
    assert told == pytest.approx([min(lines), max(lines)], rel=0.1)
