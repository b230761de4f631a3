"""Which checkpoints a training run leaves, given its scores."""

import os

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings
from {{ cookiecutter.package_name }}.training.checkpoint import (
    AtomicCheckpoints,
    checkpoint_callbacks,
)

from small import composed

SCORES = (0.1, 0.5, 0.3, 0.2, 0.4)


class Scored(BoringModel):
    """A model whose score is given for each validation, of which each step has one."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def on_validation_epoch_end(self):
        self.log("val/score", torch.tensor(self.scores[self.global_step - 1]))


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """Train for some epochs, resumed if there are checkpoints; returns the folder of them."""
    monkeypatch.setenv("TRAIN_RUN_ID", "a-run")

    def trained(epochs, *overrides, mode="max", scores=SCORES, validations=1):
        settings, run = check(composed(*overrides), Settings), Run(tmp_path)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            limit_train_batches=validations,
            # ~ if cookiecutter.scope == "complete"
            val_check_interval=1 / validations,
            # ~ endif
            limit_val_batches=1,
            num_sanity_val_steps=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=checkpoint_callbacks(settings, run, monitor="val/score", mode=mode),
            plugins=[AtomicCheckpoints()],
        )
        last = run.last if run.last.is_file() else None
        trainer.fit(Scored(scores), ckpt_path=last, weights_only=True)
        return run.best.parent

    return trained


def epoch_of(path):
    return torch.load(path, weights_only=True)["epoch"]


@pytest.mark.parametrize("stops", [(5,), (2, 5), (3, 4, 5)])
@pytest.mark.parametrize(
    ("mode", "top", "expected"),
    [
        ("max", 1, ["1-step=2-val_score=0.500"]),
        (
            "max",
            3,
            ["1-step=2-val_score=0.500", "2-step=3-val_score=0.300", "4-step=5-val_score=0.400"],
        ),
        ("min", 2, ["0-step=1-val_score=0.100", "3-step=4-val_score=0.200"]),
    ],
)
def test_the_best_checkpoints_remain_also_if_the_training_is_resumed(
    fit, mode, top, expected, stops
):
    for epochs in stops:
        folder = fit(epochs, f"trainer.save_top_k={top}", mode=mode)
    assert sorted(path.stem for path in folder.glob("*=*")) == [f"epoch={end}" for end in expected]
    assert {path.name for path in folder.glob("[!e]*")} == {"best.ckpt", "last.ckpt"}
    for path in folder.glob("*=*"):
        assert path.name.startswith(f"epoch={epoch_of(path)}-")
    assert epoch_of(folder / "best.ckpt") == (1 if mode == "max" else 0)
    assert epoch_of(folder / "last.ckpt") == 4


def test_without_hard_links_the_best_checkpoint_is_copied(fit, monkeypatch):
    def refused(*_):
        raise OSError("this file system has no links")

    monkeypatch.setattr(os, "link", refused)
    folder = fit(5)
    (named,) = folder.glob("*=*")
    assert not named.samefile(folder / "best.ckpt")
    assert named.read_bytes() == (folder / "best.ckpt").read_bytes()


# ~ if cookiecutter.scope == "complete"
@pytest.mark.parametrize("scores", [(0.5001, 0.5004), (0.5004, 0.5001)])
def test_two_validations_in_an_epoch_have_files_of_their_own(fit, scores):
    folder = fit(1, "trainer.save_top_k=2", scores=scores, validations=2)
    names = [f"epoch=0-step={step}-val_score=0.500" for step in (1, 2)]
    assert sorted(path.stem for path in folder.glob("*=*")) == names
    best = folder / f"{names[scores.index(max(scores))]}.ckpt"
    assert best.read_bytes() == (folder / "best.ckpt").read_bytes()


# ~ endif
@pytest.mark.parametrize("name", ["best.ckpt", "epoch=1-val_score=0.500.ckpt"])
def test_a_run_of_a_version_with_other_names_is_continued(fit, name):
    folder = fit(2)
    (named,) = folder.glob("*=*")
    best = str(folder / name)
    (folder / name).write_bytes(named.read_bytes())
    named.unlink()
    content = torch.load(folder / "last.ckpt", weights_only=True)
    for state in content["callbacks"].values():
        if state["monitor"]:
            state |= {"best_model_path": best, "kth_best_model_path": best}
            state["best_k_models"] = {best: state["best_model_score"]}
    torch.save(content, folder / "last.ckpt")
    assert {path.name for path in fit(5).iterdir()} == {name, "best.ckpt", "last.ckpt"}
    assert epoch_of(folder / name) == epoch_of(folder / "best.ckpt") == 1


def test_evaluate_reads_a_checkpoint_with_its_score_in_the_name(train, command):
    run = train("trainer.max_epochs=1")
    (named,) = (run / "checkpoints").glob("epoch=0-step=*-val_*")
    words = (f"checkpoint={named}", "tracking=none", "trainer=cpu")
    assert (command("evaluate", *words) / "metrics.json").is_file()
