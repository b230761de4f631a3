"""Animations, clips and embeddings."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
import wandb
from PIL import Image

from {{ cookiecutter.package_name }}.tracking import images
from {{ cookiecutter.package_name }}.tracking.embeddings import first_three_components

from reading import logged, media


def test_the_validation_images_are_an_animation(recorded, tmp_path):
    (clip,) = logged(recorded, "val/epochs")
    with Image.open(media(recorded, clip["path"])) as frames:
        assert frames.n_frames == 2
    sheets = []
    for index in range(70):
        sheets.append(tmp_path / f"{index:03d}.png")
        Image.new("RGB", (40, 20), (3 * index, 0, 90)).save(sheets[-1])
    images.write_animation(sheets, tmp_path / "animation.gif", 20)
    with Image.open(tmp_path / "animation.gif") as frames:
        assert (frames.n_frames, frames.size) == (60, (20, 10))


def test_images_and_clips_of_predict_are_logged(tmp_path):
    drawn = tmp_path / "predictions"
    drawn.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.gif"):
        Image.new("RGB", (40, 20)).save(drawn / name)
    rows = []
    logger = SimpleNamespace(
        wandb=wandb,
        run=SimpleNamespace(folder=tmp_path),
        tracking=SimpleNamespace(media=SimpleNamespace(clips=2, pixels=10)),
        guarded=lambda _what: nullcontext(),
        log_metrics=lambda values, _step: rows.append(values),
    )
    images.log_drawn_predictions(logger)
    (values,) = rows
    assert [image.image.size for image in values["predict/images"]] == [(10, 5)] * 2
    assert len(values["predict/clips"]) == 1


def test_embeddings_are_points_with_a_colour_for_each_class(recorded):
    (cloud,) = logged(recorded, "val/embeddings")
    points = torch.tensor(json.loads(media(recorded, cloud["path"]).read_text()))
    assert points.shape == (20, 6)
    assert points[:, :3].abs().max() == pytest.approx(1)
    assert len({tuple(color) for color in points[:, 3:].tolist()}) > 1


def test_the_axes_are_those_of_the_greatest_spread():
    torch.manual_seed(0)
    wide = torch.randn(50, 1) * torch.tensor([[0, 9.0, 0, 0]])
    narrow = torch.randn(50, 1) * torch.tensor([[3.0, 0, 0, 0]])
    points = first_three_components(wide + narrow + 7)
    spread = points.std(axis=0)
    assert spread[0] > 2 * spread[1] > 100 * spread[2]
    assert first_three_components(torch.zeros(4, 2)).shape == (4, 3)
