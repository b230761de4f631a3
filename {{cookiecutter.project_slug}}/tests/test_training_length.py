import math

import pytest

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.data.datamodule import Datasets
from {{ cookiecutter.package_name }}.data.resize import choose_image_size
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.inference.load_model import load_module
from {{ cookiecutter.package_name }}.run.atomic_files import write_csv
from {{ cookiecutter.package_name }}.run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.data import IMAGE_SIZES
from {{ cookiecutter.package_name }}.settings.schema import MONITOR, Settings
from {{ cookiecutter.package_name }}.training.training_length import (
    SHAPES_EPOCHS,
    STEPS,
    too_short,
    with_epochs,
)

from small import OWN, composed


def epochs(images, *words):
    settings = check(composed(*words), Settings)
    datasets = Datasets(range(images), [], [], [], list)
    chosen = with_epochs(settings, datasets).trainer.max_epochs
    return chosen, datasets.reading.notes


@pytest.mark.parametrize(
    ("images", "words", "steps"),
    [
        (10_000, (), 625),
        (9, (), 1),
        (240, (), 15),
        (161, (), 10),
        (240, ("trainer.accumulate_grad_batches=2",), 8),
        (240, ("trainer=ddp", "trainer.devices=3"), 5),
        (240, ("trainer=ddp", "trainer.devices='0,2,5'"), 5),
        (240, ("trainer=ddp", "trainer.devices='1,'"), 15),
        (240, ("trainer=ddp", "trainer.devices='2'"), 7),
    ],
)
def test_few_images_are_seen_more_often(images, words, steps):
    chosen, notes = epochs(images, OWN, "data.root=x", "loader.batch_size=16", *words)
    expected = {625: 10, 1: 200}.get(steps, math.ceil(STEPS / steps))  # at least 10, at most 200
    assert chosen == expected
    assert str(chosen) in notes[0]


def image_size(images, *words):
    data = check(composed(OWN, "data.root=x", *words), Settings).data
    return choose_image_size(data, images).input_size


def test_a_training_of_many_images_has_larger_ones():
    few, many = IMAGE_SIZES
    assert few < many
    assert image_size(240, "data.image_size=null") == (few, few)
    assert image_size(4999, "data.image_size=null") == (few, few)
    assert image_size(5000, "data.image_size=null") == (many, many)
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    assert image_size(9, "data.image_size=null", "data.tiles=300") == (320, 320)
    assert image_size(9, "data.image_size=null", "data.tiles=4000") == (2048, 2048)
    # ~ endif
    assert image_size(5000, "data.image_size=[32,64]") == (32, 64)


def test_a_run_and_its_checkpoint_keep_the_size_that_was_chosen(train, own_data):
    words = (OWN, f"data.root={own_data}", "data.image_size=null")
    run, side = train(*words, "trainer.max_epochs=1"), IMAGE_SIZES[0]
    assert Run(run).settings["data"]["image_size"] == side
    (note,) = [text for text in Run(run).record["data"]["notes"] if "image_size" in text]
    assert note.startswith(f"data.image_size={side}, since train has ")
    assert load_module(run / "checkpoints/best.ckpt").settings.data.input_size == (side, side)
    datasets = build_datasets(check(composed(*words), Settings).data)
    for dataset in (datasets.train, datasets.val, datasets.test):
        assert dataset[0].image.shape[1:] == (side, side)


def test_a_number_of_epochs_that_is_given_and_the_shapes_have_their_own():
    assert epochs(240, OWN, "data.root=x", "trainer.max_epochs=3") == (3, [])
    assert epochs(2000) == (SHAPES_EPOCHS, [])
    words = (OWN, "data.root=x", "loader.batch_size=16", "trainer.max_steps=31")
    assert epochs(240, *words) == (3, [])  # of 15 steps
    assert epochs(240, *words, "trainer.limit_train_batches=10") == (4, [])
    assert epochs(240, *words, "trainer.limit_train_batches=0.4") == (6, [])
    assert epochs(240, *words, "trainer.overfit_batches=1") == (31, [])


def advice_for(folder, scores, *words, steps=1000):
    """Return the advice for a run with a score for each epoch of so many steps."""
    run = Run(folder / "my runs" / "2026-01-01_00-00-00_abcd")
    run.folder.mkdir(parents=True)
    rows = [[epoch, steps * (epoch + 1) - 1, score, 1.0] for epoch, score in enumerate(scores)]
    write_csv(run.metrics, ["epoch", "step", MONITOR, "train/loss_epoch"], rows)
    advice = too_short(check(composed(*words), Settings), run)
    command = f"  uv run train resume={run.id} 'runs={run.folder.parent}' "
    return advice and advice.replace(command, "")


@pytest.mark.parametrize(
    ("scores", "rising"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], True),
        ([0.1, 0.3, 0.5, 0.5, 0.51], False),
        ([0.5], False),
        ([0, 0], False),
    ],
)
def test_a_score_that_still_rises_at_the_end_is_said(tmp_path, scores, rising):
    advice = advice_for(tmp_path, scores, "trainer.max_epochs=5")
    line = f"{MONITOR} was still rising when the training ended. To train longer:\n"
    assert advice == (f"{line}trainer.max_epochs=10" if rising else None)


@pytest.mark.parametrize(
    ("words", "longer"),
    [
        (("trainer.max_steps=10000",), "trainer.max_steps=20000"),
        # ~ if cookiecutter.scope == "complete"
        (("trainer.max_time=00:13:20:40",), "trainer.max_time=01:02:41:20"),
        # ~ endif
        (("trainer.patience=1",), "trainer.patience=2"),
        (
            ("trainer.patience=1", "trainer.max_epochs=10"),
            "trainer.max_epochs=20 trainer.patience=2",
        ),
    ],
)
def test_the_advice_raises_the_limit_that_has_ended_the_training(tmp_path, words, longer):
    scores = [0.1] * 8 + [0.5, 0.5]
    advice = advice_for(tmp_path, scores, "trainer.max_epochs=50", *words)
    assert advice.splitlines()[1] == longer


def test_a_poor_score_after_few_steps_is_said_with_what_helps(tmp_path):
    words = ("trainer.max_epochs=4", "trainer.max_steps=40")
    advice = advice_for(tmp_path / "a", [0.0, 0.0, 0.0, 0.0], *words, steps=10)
    aim = STEPS // 10
    assert advice == (
        f"The best {MONITOR} is 0 after 40 optimiser steps; the default for own data aims at "
        f"{STEPS}. To train longer:\ntrainer.max_epochs={aim} trainer.max_steps={STEPS}"
    )
    advice = advice_for(tmp_path / "e", [0.0, ""], *words, steps=10)
    assert advice.startswith(f"The best {MONITOR} is 0 after 20 optimiser steps; ")
    advice = advice_for(tmp_path / "f", ["", ""], *words, steps=10)
    assert advice.startswith("There was no validation in 20 optimiser steps. To train longer:\n")
    assert advice_for(tmp_path / "b", [0.1, 0.1], *words, steps=STEPS // 2) is None
    assert advice_for(tmp_path / "c", [0.9, 0.9], *words, steps=10) is None
    assert advice_for(tmp_path / "d", [0.0], "debug=fast", steps=1) is None
