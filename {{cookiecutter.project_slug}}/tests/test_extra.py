"""Rarely used arguments of Lightning's trainer, and checks before the data are read."""

import csv
import shlex
from types import SimpleNamespace

import pytest
import torch

from {{ cookiecutter.package_name }}.run.folder import Run, read_metrics
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import MONITOR, Settings
from {{ cookiecutter.package_name }}.training import trainer, training_length

from small import SHAPES, SMALL, composed


def test_a_training_ends_when_its_time_is_over_and_the_advice_continues_it(
    train, command, monkeypatch
):
    run = Run(train("trainer.max_time=00:00:00:01", "trainer.max_epochs=1000"))

    def steps():
        return max(1 + int(row["step"]) for row in read_metrics(run.metrics) if MONITOR in row)

    before = steps()
    assert before < 4000
    assert run.results.is_file()
    monkeypatch.setattr(training_length, "POOR", 2)
    monkeypatch.setattr(training_length, "STEPS", 100 * before)
    advice = training_length.too_short(check(run.settings, Settings), run)
    words = shlex.split(advice.splitlines()[1])
    assert words[-1] == "trainer.max_time=00:00:01:40"
    assert command(*words[2:], f"trainer.max_steps={before + 4}") == run.folder
    assert steps() == before + 4


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (("trainer.val_check_interval=0.5",), [2, 4, 6, 8]),
        (("trainer.val_check_interval=3",), [3, 7]),
        (("trainer.check_val_every_n_epoch=2",), [8]),
        (("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3"), [8]),
        (("trainer.check_val_every_n_epoch=3",), []),
    ],
)
def test_validation_takes_place_when_it_should(train, words, steps):
    run = train(*words)
    with (run / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get(MONITOR)]
    assert [int(row["step"]) + 1 for row in rows] == steps
    measured = {int(row["step"]) + 1: float(row[MONITOR]) for row in rows}
    for path in (run / "checkpoints").iterdir():
        content = torch.load(path, weights_only=True)
        expected = measured.get(content["global_step"])
        assert content["scores"].get(MONITOR) == (expected and pytest.approx(expected))
    assert (run / "metrics.json").is_file()  # without a validation, the last weights are tested


def test_a_sheet_is_drawn_after_the_first_validation_that_is_due(train):
    words = ("trainer.check_val_every_n_epoch=2", "pictures.every_n_epochs=3")
    run = train("trainer.max_epochs=6", *words)  # validated after epochs 1, 3 and 5, from 0
    sheets = sorted(path.name for path in (run / "predictions").iterdir())
    assert sheets == ["epoch_003.png", "epoch_005.png"]


def test_an_interval_longer_than_an_epoch_is_refused(train):
    with pytest.raises(SystemExit) as stopped:
        train("trainer.val_check_interval=5")
    message = "trainer.val_check_interval=5 is more than the batches of an epoch. Choose a smaller"
    assert message in str(stopped.value.code)


def test_the_line_of_an_epoch_without_a_validation_has_no_score(train, caplog):
    caplog.set_level("INFO")
    train("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3", "trainer.progress=true")
    lines = [line for line in caplog.messages if line.startswith("Epoch ")]
    assert [MONITOR in line for line in lines] == [False, True, False]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.sync_batchnorm=true", "trainer.sync_batchnorm=true needs GPUs"),
        ("trainer.precision=16-mixed", "trainer.precision=16-mixed needs a GPU"),
        ("trainer.max_time=8:00:00", "must be days:hours:minutes:seconds, such as 00:08:00:00"),
        ("trainer.max_time=8", "must be days:hours:minutes:seconds, such as 00:08:00:00"),
        ("trainer.val_check_interval=1.5", "must be a fraction up to 1.0, or a whole number of"),
    ],
)
def test_what_a_cpu_cannot_do_and_wrong_values_are_refused(train, word, message):
    with pytest.raises(SystemExit) as stopped:
        train(word)
    assert message in str(stopped.value.code)


def test_arguments_of_lightnings_trainer_are_passed_on(monkeypatch):
    monkeypatch.setattr(trainer, "Trainer", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    words = ("++trainer.extra.reload_dataloaders_every_n_epochs=2", "trainer.sync_batchnorm=true")
    words += ("trainer.accelerator=gpu", "trainer.precision=32-true")
    settings = check(composed(*SMALL, *SHAPES, *words), Settings)
    built = trainer.build_trainer(settings, Run(settings.runs / "a"), loggers=[], callbacks=[])
    assert built.reload_dataloaders_every_n_epochs == 2
    assert built.sync_batchnorm is True


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("++trainer.extra.min_epoch=2", "trainer.extra.min_epoch is not an argument of"),
        ("++trainer.extra.max_epochs=2", "trainer.extra.max_epochs: it is set elsewhere"),
        ("++trainer.extra.logger=true", "trainer.extra.logger: it is set elsewhere"),
        ("model.freeze=6", "model.freeze=6: the backbone has 5 stages."),
    ],
)
def test_settings_that_cannot_work_are_refused_before_the_data_are_read(
    train, workplace, word, message
):
    with pytest.raises(SystemExit) as stopped:
        train(word, "data.root=shapes")
    assert message in str(stopped.value.code)
    assert not (workplace / "shapes").exists()
