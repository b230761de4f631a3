from types import SimpleNamespace

import pytest

from {{ cookiecutter.package_name }}.training.callbacks import time_left


@pytest.mark.parametrize(
    ("total", "batches", "expected"),
    [
        (20_020, 1, "Estimated time left: 2.8 hours without validation (0.5 s per step)."),
        (1_700, 1, "Estimated time left: 14 minutes without validation (0.5 s per step)."),
        (101, 3, "Estimated time left: 40 seconds without validation (0.5 s per step)."),
    ],
)
def test_the_time_left_follows_from_steps_after_the_first(
    monkeypatch, caplog, total, batches, expected
):
    clock, timer = [100.0], time_left.TimeLeft()
    monkeypatch.setattr(time_left, "perf_counter", lambda: clock[0])
    caplog.set_level("INFO")
    trainer = SimpleNamespace(
        global_step=0, estimated_stepping_batches=total, is_global_zero=True, max_epochs=9
    )
    timer.on_train_epoch_start(trainer, None)
    clock[0] += 60  # the first step
    for batch in range(40 * batches):
        trainer.global_step = (batch + 1) // batches
        timer.on_train_batch_end(trainer, None, None, None, batch)
        clock[0] += 0.5 / batches
    trainer.current_epoch = 0
    timer.on_train_epoch_end(trainer, None)
    # After step 21: 0.5 s for each step that is left.
    assert caplog.messages == [expected]


def test_the_time_left_follows_from_a_short_first_epoch_and_is_said_once(monkeypatch, caplog):
    clock, timer = [100.0], time_left.TimeLeft()
    monkeypatch.setattr(time_left, "perf_counter", lambda: clock[0])
    caplog.set_level("INFO")
    trainer = SimpleNamespace(global_step=8, is_global_zero=True, max_epochs=24, current_epoch=2)
    for epoch in (2, 3):
        trainer.current_epoch = epoch
        timer.on_train_epoch_start(trainer, None)
        for batch in range(4):
            trainer.global_step += 1
            timer.on_train_batch_end(trainer, None, None, None, batch)
        clock[0] += 10  # with validation
        timer.on_train_epoch_end(trainer, None)
    assert caplog.messages == ["Estimated time left: 4 minutes (10 s per epoch)."]
    resumed = time_left.TimeLeft()  # within an epoch, which has no start then
    resumed.on_train_epoch_end(trainer, None)
    assert len(caplog.messages) == 1
    last = time_left.TimeLeft()
    trainer.current_epoch = 23
    last.on_train_epoch_start(trainer, None)
    last.on_train_epoch_end(trainer, None)
    assert len(caplog.messages) == 1  # nothing is left after the last epoch
