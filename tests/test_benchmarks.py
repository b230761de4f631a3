"""The scripts of the benchmarks, at a size that takes seconds, in the projects that they measure."""

import json
import math

import pytest
from conftest import ROOT, Project

from benchmarks import gpu

pytestmark = pytest.mark.slow

STEPS = ("warmup=1", "steps=2")
TINY = ("model.backbone=test_resnet", "data.image_size=32", "loader.batch_size=2", "loader.workers=1", "trainer=cpu")


@pytest.mark.parametrize(
    ("fixture", "words"),
    [
        ("stripped", ("training.py", "turns", "loader", "trainer.accumulate_grad_batches=2", *STEPS, *TINY)),
        ("stripped", ("training.py", "ours", "memory", *STEPS, *TINY)),
        ("stripped", ("training.py", "ema", "memory", *STEPS, *TINY)),
        ("stripped", ("training.py", "resume", "memory", *STEPS, *TINY)),
        ("stripped", ("feed.py", "cache", "1", "2", "1")),
        ("stripped", ("gpu.py", "bf16-mixed", "1", "3", *TINY)),
        ("segmentation", ("gpu.py", "32-true", "1", "3", *TINY)),
        ("stripped", ("growth.py", "folders", "60", "0")),
        ("detection", ("growth.py", "coco", "60", "0")),
        ("detection", ("growth.py", "folders", "60", "0")),
        ("segmentation", ("growth.py", "folders", "60", "0")),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else value,
)
def test_a_script_of_the_benchmarks_prints_its_figures(
    fixture: str, words: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    project: Project = request.getfixturevalue(fixture)
    script, *rest = words
    python = ("uv", "run", "--no-sync", "python")
    done = project.run(*python, ROOT / "benchmarks" / "inside" / script, *rest, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    numbers = [number for value in figures.values() for number in (value if isinstance(value, list) else [value])]
    assert numbers
    assert all(math.isfinite(number) and number >= 0 for number in numbers)
    assert any(number > 0 for number in numbers)


def test_without_a_gpu_its_table_stays(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(gpu, "keep", pytest.fail)
    gpu.main(str)
    assert "no NVIDIA GPU" in capsys.readouterr().out


def test_a_row_of_the_gpu_compares_pairs_with_the_slower_of_loader_and_model() -> None:
    rates = {"hand": [200, 200, 200], "ours": [100, 200, 180], "alone": [400, 100, 90], "files": [80, 80, 81]}
    row = {"network": "N", "precision": "32-true", "batch": 8, **rates, "cache": [50, 100, 90], "timm": []}
    cells = gpu.line({**row, "memory": 1.25, "waits": 0.5}).strip("| ").split(" | ")
    assert cells[4:6] == ["180", "0.900 (0.500 to 1.000)"]
    assert cells[8] == "0.800 (0.800 to 0.900)"
    assert cells[10:] == ["0.500 (0.500 to 0.500)", "", "1.2 GB", "0.50"]
    assert len(cells) == len(gpu.COLUMNS)
