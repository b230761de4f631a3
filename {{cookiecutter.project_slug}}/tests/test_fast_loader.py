from time import monotonic, sleep

import torch

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
from {{ cookiecutter.package_name }}.classification.module import (
    ClassificationModule as TaskModule,
)
# ~ endif
from {{ cookiecutter.package_name }}.data import datamodule
from {{ cookiecutter.package_name }}.data.datamodule import DataModule
# ~ if cookiecutter.task != "classification"
from {{ cookiecutter.package_name }}.{{ cookiecutter.task }}.dataset import build_datasets
from {{ cookiecutter.package_name }}.{{ cookiecutter.task }}.module import (
    {{ cookiecutter.task | capitalize }}Module as TaskModule,
)
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings

from small import SHAPES, SMALL, composed


def test_workers_load_an_epoch_before_it_starts(workplace):
    settings = check(composed(*SMALL, *SHAPES, "loader.workers=1"), Settings)
    datasets, drawn = build_datasets(settings.data), torch.zeros(1).share_memory_()
    transform = datasets.train.transform

    def counted(*sample):
        drawn.add_(1)
        return transform(*sample)

    datasets.train.transform = counted
    loader = DataModule(datasets, settings.loader, skip_unreadable=False).train_dataloader()
    list(loader)
    loader.prepare(1)
    assert loader.sampler.epoch == 0
    deadline = monotonic() + 20
    while drawn.item() < 2 * 40 and monotonic() < deadline:
        sleep(0.01)
    assert drawn.item() == 2 * 40
    loader.sampler.set_epoch(1)
    prepared, again = ([batch.images for batch in loader] for _ in range(2))
    assert drawn.item() == 3 * 40
    torch.testing.assert_close(prepared, again, rtol=0, atol=0)


def test_a_training_prepares_each_epoch_but_the_first_before_validation(train, monkeypatch):
    calls = []
    monkeypatch.setattr(datamodule.FastLoader, "prepare", lambda _, epoch: calls.append(epoch))
    monkeypatch.setattr(
        TaskModule, "on_validation_start", lambda _: calls.append("validation"), raising=False
    )
    train("trainer.max_epochs=3")
    assert calls == [1, "validation", 2, "validation", "validation"]


def test_workers_send_small_tensors_within_the_message_of_their_batch(workplace, monkeypatch):
    monkeypatch.setattr(datamodule, "SMALL", 1000)  # bytes
    settings = check(composed(*SMALL, *SHAPES, "loader.workers=1"), Settings)
    datasets = build_datasets(settings.data)
    sent, own = (
        next(iter(DataModule(datasets, loader, skip_unreadable=False).train_dataloader()))
        for loader in (settings.loader, settings.loader.model_copy(update={"workers": 0}))
    )
    assert sent.images.is_shared()
    assert not sent.positions.is_shared()
    torch.testing.assert_close(sent, own, rtol=0, atol=0)
