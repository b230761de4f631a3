"""Trainings that are killed at random moments and resumed end exactly as an uninterrupted training."""

import pytest
from conftest import ROOT, Project

pytestmark = pytest.mark.slow

RANDOM = ("model.mixup=0.5", "model.cutmix=1", "model.drop_rate=0.2", "data.augment.color=0.3")
TRACKED = ("tracking=wandb", "tracking.mode=offline")
PROCESSES = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "loader.batch_size=5")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stripped", ("--kills=3", *RANDOM)),
        ("detection", ("--kills=3", "loader.workers=2", "model.architecture=fasterrcnn", "data.augment.rotate=20")),
        ("segmentation", ("--kills=2", *TRACKED)),
        ("essential", ("--kills=2", "ema.enabled=false")),
        ("stripped", ("--kills=2", *PROCESSES)),
    ],
)
def test_killed_trainings_end_exactly(request: pytest.FixtureRequest, name: str, words: tuple[str, ...]) -> None:
    project: Project = request.getfixturevalue(name)
    python = (project.environment or project.folder / ".venv") / "bin" / "python"
    done = project.run(python, ROOT / "tools" / "kill_trainings.py", project.folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
