"""The data, the model and the predictions that a run records."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from {{ cookiecutter.package_name }} import train
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.settings.schema import MONITOR
from {{ cookiecutter.package_name }}.tracking import client, registry
from {{ cookiecutter.package_name }}.training.checkpoint import checkpoint_callbacks

from reading import artifacts, config, entries, history
from small import OWN
from tracked import PLAIN


def test_the_version_of_the_data_is_recorded(recorded):
    root = recorded.parents[1] / "data" / "shapes"
    assert config(recorded)["data_fingerprint"] == registry.fingerprint(root)


def test_each_version_of_the_model_has_its_own_epoch_and_score(recorded):
    scores = {row["epoch"]: row[MONITOR] for row in history(recorded) if MONITOR in row}
    models = artifacts(recorded, "model")
    facts = [json.loads(model["metadata"]) for model in models]
    assert [version["epoch"] for version in facts] == [0, 1, 1]
    for version in facts:
        assert version[MONITOR] == pytest.approx(scores[version["epoch"]])
        assert version["data"] == config(recorded)["data_fingerprint"]
    names = [next(name for name in entries(model) if "ckpt" in name) for model in models]
    assert [name.split("-")[0] for name in names] == ["epoch=0", "epoch=1", "last.ckpt"]
    assert {*models[-1]["aliases"]} == {"last", "latest"}


def test_checkpoints_that_are_replaced_within_an_epoch_are_logged_too(tracked, monkeypatch):
    def always_better(settings, run, **_):
        return checkpoint_callbacks(settings, run, monitor="step", mode="max")

    monkeypatch.setattr(train, "checkpoint_callbacks", always_better)
    words = ("trainer.val_check_interval=0.25", "trainer.save_top_k=1", "tracking.log_model=all")
    run = tracked("trainer.max_epochs=1", *words)
    models = artifacts(run, "model")
    names = [next(name for name in entries(model) if "ckpt" in name) for model in models]
    assert [name.rpartition("-")[0] for name in names] == [
        *(f"epoch=0-step={step}" for step in (1, 2, 3, 4)),
        "",
    ]


def test_evaluate_and_predict_record_their_data_and_their_checkpoint(recorded, tracked):
    checkpoint = f"checkpoint={recorded}/checkpoints/best.ckpt"
    root = recorded.parents[1] / "data" / "shapes"
    evaluated = tracked(checkpoint, f"data.root={root}", name="evaluate", small=PLAIN)
    words = (f"source={root}/**/*0.*g", "output=results")
    predicted = tracked(checkpoint, *words, name="predict", small=PLAIN)
    assert artifacts(evaluated, "dataset")
    assert any("test/predictions_table" in row for row in history(evaluated))
    assert any("predict/images" in row for row in history(predicted))
    (predictions,) = artifacts(predicted, "predictions")
    assert {"predictions.csv", "predictions.json"} <= entries(predictions).keys()
    for run in (recorded, evaluated.absolute(), predicted.absolute()):
        for kind in ("dataset", "run_table", "predictions"):
            for artifact in artifacts(run, kind):
                staged = [Path(path) for path in entries(artifact).values() if path]
                assert all(path.is_relative_to(run) and path.is_file() for path in staged)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train", (OWN, "data.root=wandb:data-own:latest")),
        ("evaluate", ("checkpoint=wandb:model-own:best",)),
        ("predict", ("checkpoint=wandb:model-own:best", "source=photos")),
    ],
)
def test_without_the_package_an_artifact_cannot_be_fetched(command, monkeypatch, name, words):
    monkeypatch.setattr(client, "installed", lambda: False)
    with pytest.raises(SystemExit, match=r"^\n\S+=wandb:\S+ wandb is not installed.*uv sync\n"):
        command(name, *words)


class Stored:
    """A data set on the server, with one file."""

    def __init__(self, **metadata):
        self.metadata = metadata
        self.manifest = SimpleNamespace(entries={"data/1.jpg": None})

    def artifact(self, name):
        return self

    def download(self, folder):
        path = Path(folder) / "data" / "1.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"stored")

    collection = SimpleNamespace(name="data-own")
    version, digest, source_qualified_name = "v0", "0123456789", "team/project/data-own:v0"


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("reference", "nothing"),
        ("reference", "link"),
        ("content", "nothing"),
        ("content", "folder"),
        (None, "nothing"),
        (None, "folder"),
    ],
)
def test_fetched_data_do_not_depend_on_what_an_interrupted_attempt_has_left(
    workplace, monkeypatch, kind, left
):
    original, data = workplace / "original", Path("artifacts/data-own-v0-01234567/data")
    original.mkdir()
    (original / "1.jpg").write_bytes(b"original")
    facts = {"root": str(original), "fingerprint": registry.fingerprint(original), "log_data": kind}
    monkeypatch.setattr(registry, "public_api", lambda _: Stored(**facts if kind else {}))
    data.parent.mkdir(parents=True)
    if left == "folder":
        data.mkdir()
        (data / "1.jpg").write_bytes(b"sto")
    if left == "link":
        data.symlink_to(original)
    if kind == "content":
        with pytest.raises(UsageError, match="has changed since it was fetched"):
            registry.fetch_data("wandb:data-own:v0", None)
    else:
        assert registry.fetch_data("wandb:data-own:v0", None) == data
    assert data.is_symlink() == (kind == "reference")
    assert (data / "1.jpg").read_text() == ("original" if kind == "reference" else "stored")
    assert (original / "1.jpg").read_text() == "original"


def test_the_fingerprint_changes_with_names_sizes_and_annotations(tmp_path):
    image, labels = tmp_path / "1.jpg", tmp_path / "labels.json"
    image.write_bytes(b"12")
    labels.write_text("{}")
    seen = [registry.fingerprint(tmp_path)]
    assert registry.fingerprint(tmp_path) == seen[0]
    labels.write_text("[]")
    seen.append(registry.fingerprint(tmp_path))
    image.write_bytes(b"123")
    seen.append(registry.fingerprint(tmp_path))
    image.rename(tmp_path / "2.jpg")
    seen.append(registry.fingerprint(tmp_path))
    assert len(set(seen)) == 4
