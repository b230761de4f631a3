"""Experiment trackers: any Lightning logger, by a file in ``configs/tracking``."""

import csv
import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from {{ cookiecutter.package_name }}.run.folder import read_metrics
from {{ cookiecutter.package_name }}.settings.schema import MONITOR

from small import SHAPES, SMALL

UNTRACKED = (*(word for word in SMALL if not word.startswith("tracking")), *SHAPES)
UNTRACKED += ("schedule.warmup=0",)
CSV = """
_target_: lightning.pytorch.loggers.CSVLogger
save_dir: ${runs}/${oc.env:TRAIN_RUN_ID}
name: mine
version: ""
"""


@pytest.fixture
def train(command, workplace):
    """Train with trackers, of which ``mine`` and ``named`` are files of the user."""
    (workplace / "own" / "tracking").mkdir(parents=True)
    (workplace / "own" / "tracking" / "mine.yaml").write_text(CSV)
    named = "named:" + CSV.replace("\n", "\n  ")
    (workplace / "own" / "tracking" / "named.yaml").write_text(named)

    def run(*overrides):
        path = f"hydra.searchpath=[file://{workplace / 'own'}]"
        return command("train", *UNTRACKED, path, *overrides)

    return run


def tensorboard_scalars(run, name):
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return [event.value for event in events.Scalars(name)]


def csv_scalars(run, name):
    with (run / "mine" / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def measured(run):
    rows = read_metrics(run / "metrics.csv")
    return [row[MONITOR] for row in rows if MONITOR in row]


def test_loggers_write_into_the_run_folder_and_continue_after_resuming(train):
    run = train("tracking=[tensorboard,named]", "trainer.max_epochs=1")
    train(f"resume={run.name}", "tracking=[mine,tensorboard]", "trainer.max_epochs=2")
    assert tensorboard_scalars(run, MONITOR) == pytest.approx(measured(run))
    assert csv_scalars(run, MONITOR) == pytest.approx(measured(run)[1:])
    assert "optimizer.lr" in (run / "mine" / "hparams.yaml").read_text()
    assert [path.name for path in Path("runs").iterdir()] == [run.name]


def test_the_metrics_of_an_evaluation_are_named_after_its_split(train, command):
    trained = train("tracking=none", "trainer.max_epochs=1")
    checkpoint = f"checkpoint={trained}/checkpoints/best.ckpt"
    run = command("evaluate", checkpoint, "split=val", "tracking=tensorboard", "trainer=cpu")
    score = json.loads((run / "metrics.json").read_text())[MONITOR]
    assert tensorboard_scalars(run, MONITOR) == pytest.approx([score])
    assert measured(run) == pytest.approx([score])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tracking=mine", "tracking.nam=x"], r"tracking: CSVLogger: .*'nam'"),
        (["tracking=mine", "~tracking.save_dir"], r"tracking: CSVLogger: .*'save_dir'"),
        (["tracking=tensorboard", "tracking.tensorboard.nam=x"], "TensorBoardLogger: .*'nam'"),
        (["tracking=mine", "tracking._target_=no.such.Logger"], "tracking._target_=no.such.Logger"),
        (["tracking=mine", "tracking._target_=pathlib.Path"], "is not a logger of Lightning"),
        (["tracking=none", "tracking.project=x"], "no tracker takes project"),
        (["tracking=[tensorboard]", "tracking.project=x"], "no tracker takes project"),
        # ~ if cookiecutter.use_wandb
        (
            [
                "tracking=mine",
                "tracking._target_={{ cookiecutter.package_name }}.tracking.none",
            ],
            "does not exist; choose a tracker",
        ),
        # ~ endif
    ],
)
def test_a_wrong_tracker_is_refused_before_training(train, words, message):
    with pytest.raises(SystemExit, match=message):
        train(*words)
    assert not list(Path("runs").glob("*/checkpoints"))


def test_a_missing_package_is_named_with_the_fix(train, monkeypatch):
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(f"lightning.fabric.loggers.tensorboard.{name}", False)
    with pytest.raises(SystemExit, match="Install it: uv sync --extra tensorboard"):
        train("tracking=tensorboard")
