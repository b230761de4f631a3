from types import SimpleNamespace

import pytest

from {{ cookiecutter.package_name }}.training.callbacks import progress


@pytest.fixture
def clock(monkeypatch, caplog):
    """A clock that only the test moves."""
    caplog.set_level("INFO")
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress, "perf_counter", lambda: now.seconds)
    return now


def trainer_of(total, batches=1):
    return SimpleNamespace(
        global_step=0,
        estimated_stepping_batches=total,
        accumulate_grad_batches=batches,
        is_last_batch=False,
        is_global_zero=True,
    )


@pytest.mark.parametrize(
    ("total", "batches", "expected"),
    [
        (20_021, 1, "2:46:40 without validation (0.5 s per step)."),
        (1_701, 1, "0:14:00 without validation (0.5 s per step)."),
        (101, 3, "0:00:40 without validation (0.5 s per step)."),
    ],
)
def test_the_time_left_follows_from_steps_after_the_first(clock, caplog, total, batches, expected):
    trainer, timer = trainer_of(total, batches), progress.TimeLeft()
    clock.seconds += 60  # the first step
    for batch in range(40 * batches):
        trainer.global_step = (batch + 1) // batches
        timer.on_train_batch_end(trainer, None, None, None, batch)
        clock.seconds += 0.5 / batches
    timer.on_train_epoch_end(trainer, None)
    # After step 21: 0.5 s for each step that is left.
    assert caplog.messages == [f"Estimated time left: {expected}"]


@pytest.mark.parametrize(("total", "expected"), [(24, ["0:03:00 (9 s per step)."]), (4, [])])
def test_the_time_left_follows_from_a_short_epoch_and_is_said_once(clock, caplog, total, expected):
    trainer, timer = trainer_of(total), progress.TimeLeft()
    timer.on_train_epoch_end(trainer, None)  # of a resumed run without a step
    for _ in range(2):
        for batch in range(4):
            clock.seconds += 2
            trainer.global_step += 1
            timer.on_train_batch_end(trainer, None, None, None, batch)
        clock.seconds += 30  # the validation
        timer.on_train_epoch_end(trainer, None)
    assert caplog.messages == [f"Estimated time left: {text}" for text in expected]


def test_the_time_left_of_epochs_of_one_step_follows_from_the_second(clock, caplog):
    trainer, timer = trainer_of(10), progress.TimeLeft()
    for seconds in (60, 4):  # the first step is slow
        clock.seconds += seconds
        trainer.global_step += 1
        timer.on_train_batch_end(trainer, None, None, None, 0)
        clock.seconds += 6  # the validation
        timer.on_train_epoch_end(trainer, None)
    assert caplog.messages == ["Estimated time left: 0:01:20 (10 s per step)."]
