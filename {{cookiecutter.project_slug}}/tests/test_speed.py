from types import SimpleNamespace

import pytest
import torch

from {{ cookiecutter.package_name }}.run.folder import read_metrics
from {{ cookiecutter.package_name }}.training.callbacks import performance
from {{ cookiecutter.package_name }}.training.callbacks.performance import Performance

BATCH = SimpleNamespace(images=torch.zeros(8, 3, 4, 4))


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(performance, "perf_counter", lambda: now.seconds)
    return now


def test_steps_are_timed_without_the_first_and_without_validation(clock):
    logged = {}
    module = SimpleNamespace(device=torch.device("cpu"), log_dict=logged.update)
    callback = Performance()
    trainer = SimpleNamespace(
        log_every_n_steps=5, world_size=2, global_step=0, accumulate_grad_batches=1
    )
    callback.on_train_start(trainer, module)
    for wait, work in ((50, 50), (1, 3), (1, 3), ("validation", 0), (2, 2), (1, 3)):
        if wait == "validation":
            clock.seconds += 1000
            callback.on_train_epoch_start(trainer, module)
            continue
        clock.seconds += wait
        callback.on_train_batch_start(trainer, module, BATCH, 0)
        clock.seconds += work
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, module, None, BATCH, 0)
    assert logged.pop("perf/memory_gb") > 0
    assert logged == {
        "perf/images_per_second": 2 * 4 * 8 / 16,
        "perf/data_wait": 5 / 16,
        "perf/step_ms": 4000,
    }


def test_a_training_logs_its_speed_and_waits_for_the_device_once(train, monkeypatch):
    waits = []
    monkeypatch.setattr(performance, "synchronise", waits.append)
    run = train("trainer.max_epochs=3")
    rows = [row for row in read_metrics(run / "metrics.csv") if "perf/step_ms" in row]
    steps = 3 * 40 // 10
    assert [row["step"] for row in rows] == list(range(1, steps))  # the first does not count
    assert all(0 <= row["perf/data_wait"] <= 1 for row in rows)
    assert len(waits) == 2  # after the first step, and at the end
