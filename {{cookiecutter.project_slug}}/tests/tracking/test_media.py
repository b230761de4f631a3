"""Animations, clips and embeddings."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
import wandb
from PIL import Image

from {{ cookiecutter.package_name }}.tracking import images
from {{ cookiecutter.package_name }}.tracking.lineage import log_predictions
from {{ cookiecutter.package_name }}.tracking.network_plots import first_three_components

from reading import history, logged, media, records


def test_the_validation_images_are_an_animation(recorded):
    (film,) = logged(recorded, "val/epochs")
    with Image.open(media(recorded, film["path"])) as frames:
        assert (frames.format, frames.n_frames) == ("WEBP", 2)


def test_an_animation_of_photographs_is_small(tmp_path):
    torch.manual_seed(0)
    blurred = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 16), (768, 1024))[0]
    sheets = []
    for index in range(70):
        noisy = 255 * (blurred.roll(index, 2) + 0.03 * torch.randn(3, 768, 1024)).clip(0, 1)
        sheets.append(tmp_path / f"{index:03d}.bmp")
        Image.fromarray(noisy.byte().permute(1, 2, 0).numpy()).save(sheets[-1])
    path = tmp_path / "animation.webp"
    images.write_animation(sheets, path, 512)
    with Image.open(path) as frames:
        assert (frames.n_frames, frames.size) == (30, (512, 384))
    assert path.stat().st_size < 5e6


def test_sheets_of_different_heights_are_frames_of_one_size(tmp_path):
    sheets = [tmp_path / f"{height}.png" for height in (40, 60, 50)]
    for sheet in sheets:
        Image.new("RGB", (100, int(sheet.stem)), "red").save(sheet)
    path = tmp_path / "animation.webp"
    images.write_animation(sheets, path, 512)
    with Image.open(path) as frames:
        assert (frames.n_frames, frames.size) == (3, (100, 60))
        assert min(frames.convert("RGB").getpixel((50, 55))) > 200  # white below the first


def test_the_frames_are_in_the_order_of_the_epochs(tmp_path):
    (tmp_path / "predictions").mkdir()
    for name, color in {"999": "red", "1000": "lime"}.items():
        Image.new("RGB", (40, 20), color).save(tmp_path / "predictions" / f"epoch_{name}.png")
    logger = SimpleNamespace(
        wandb=wandb,
        run=SimpleNamespace(folder=tmp_path),
        tracking=SimpleNamespace(media=SimpleNamespace(images=1, pixels=32)),
        guarded=lambda _what: nullcontext(),
        log_metrics=lambda *_: None,
    )
    images.ValidationImages(logger).on_fit_end(
        SimpleNamespace(global_step=1, current_epoch=1), None
    )
    with Image.open(tmp_path / "predictions" / "epochs.webp") as frames:
        frames.seek(1)
        red, green, _ = frames.convert("RGB").getpixel((20, 10))
        assert green > red


def test_images_and_clips_of_predict_are_logged(tmp_path):
    drawn = tmp_path / "predictions"
    drawn.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        Image.new("RGB", (40, 20)).save(drawn / name)
    (drawn / "d.mp4").write_bytes(b"frames")
    rows = []
    logger = SimpleNamespace(
        wandb=wandb,
        tracking=SimpleNamespace(media=SimpleNamespace(images=2, pixels=10)),
        guarded=lambda _what: nullcontext(),
        log_metrics=rows.append,
    )
    images.log_drawn_predictions(logger, tmp_path)
    log_predictions(logger, tmp_path)  # no table, so nothing: the logger has no log_lasting
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


def test_histograms_are_logged_in_the_first_step_and_at_the_chosen_interval(recorded):
    rows = [record["item"] for record in records(recorded, "history")]
    for kind in ("gradients/", "parameters/"):
        shown = [row for row in rows if any(name.startswith(kind) for name in row)]
        assert [row["trainer/global_step"] for row in shown] == [0, 2, 5]  # steps 1, 3 and 6
        name = next(name for name in shown[0] if name.startswith(kind)).rsplit(".", 1)[0]
        counts, edges = shown[0][f"{name}.values"], shown[0][f"{name}.bins"]
        assert len(edges) == len(counts) + 1
        assert sum(counts) > 0


def test_images_are_logged_every_so_many_steps_too(tracked):
    run = tracked("tracking.media.every_n_steps=3", "pictures.every_n_epochs=2")
    rows = [row["trainer/global_step"] for row in history(run) if "val/predictions" in row]
    assert rows == [3, 6, 8]  # and after the second validation
    run = tracked("tracking.media.every_n_steps=3", "tracking.media.images=0")
    assert not logged(run, "val/predictions")
