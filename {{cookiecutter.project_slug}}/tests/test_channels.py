"""Data of four channels and 12 bits, through every command."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from {{ cookiecutter.package_name }}.data.images import read_image
from {{ cookiecutter.package_name }}.data.resize import model_input
from {{ cookiecutter.package_name }}.inference.load_model import load_module
from {{ cookiecutter.package_name }}.settings.data import PixelFormat

import small

CHANNELS = "data.channels=4"
OWN = (small.OWN, "data.root=own")
COLOR_AND_CACHE = ("data.augment.color=0.2", "data.cache=disk", "data.cache_folder=cached")
PLAIN = ("tracking=none", "trainer=cpu")


@pytest.fixture
def own(workplace):
    """The small data set, each image as a NumPy file of four channels with 12 bits."""
    small.write_own_data(workplace / "own")
    for path in Path("own").rglob("*.jpg"):
        with Image.open(path) as image:
            colors = np.asarray(image).astype(np.uint16) * 16
        np.save(path.with_suffix(".npy"), np.dstack([colors, 4000 - colors[..., 0]]))
        path.unlink()
    for path in Path("own").rglob("*.json"):
        path.write_text(path.read_text().replace(".jpg", ".npy"))


def test_four_channels_of_12_bits_are_trained_tested_and_predicted(
    own, train, command, monkeypatch
):
    run = train(*OWN, CHANNELS, *COLOR_AND_CACHE, *small.TRAINED_LONGER)
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    stored = yaml.safe_load((run / "config.yaml").read_text())["data"]
    assert (stored["channels"], stored["value_range"]) == (4, [0, 4095])
    module = load_module(run / "checkpoints" / "best.ckpt")
    assert module.settings.data.value_range == (0, 4095)
    assert module.network.normalisation.mean.shape == (1, 4, 1, 1)
    measured = json.loads((run / "metrics.json").read_text())
    again = json.loads((command("evaluate", checkpoint, *OWN, *PLAIN) / "metrics.json").read_text())
    assert {key: again[key] for key in measured if key.startswith("test/")} == {
        key: pytest.approx(value, abs=1e-5)
        for key, value in measured.items()
        if key.startswith("test/")
    }
    photo = shutil.copy(min(Path("own").rglob("*.npy")), "photo.npy")
    result = command("predict", checkpoint, f"source={photo}", *PLAIN)
    (row,) = json.loads((result / "predictions.json").read_text())
    assert row["image"] == "photo.npy"
    exported = command("export", checkpoint, *OWN, *PLAIN)
    content = json.loads((exported / "model.json").read_text())
    assert content["input"]["shape"] == ["batch", 4, 32, 32]
    assert content["input"]["value_range"] == [0, 4095]
    (code,) = re.findall(
        r"```python\n(.*?)```", (exported / "MODEL_CARD.md").read_text(), flags=re.DOTALL
    )
    names = {}
    expected = model_input(read_image(photo, module.settings.data.pixels), module.settings.data)
    with Image.open(result / "predictions" / "photo.jpg") as picture:
        assert picture.mode == "RGB"
    shutil.copy(photo, exported)
    monkeypatch.chdir(exported)
    exec(code[: code.index("session =")], names)
    (fitted,) = torch.from_numpy(names["images"])
    assert (fitted.float() - expected.float()).abs().max() <= 1
    assert names["image"].size == (48, 40)


def test_the_range_of_a_checkpoint_scales_other_data(own, train, command):
    """A dark image stays dark although its own values are the only ones."""
    run = train(*OWN, CHANNELS, "trainer.max_epochs=1")
    np.save("dark.npy", np.full((40, 48, 4), 410, np.uint16))
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    result = command("predict", checkpoint, "source=dark.npy", *PLAIN)
    stored = yaml.safe_load((result / "config.yaml").read_text())["data"]
    pixels = PixelFormat(stored["channels"], tuple(stored["value_range"]))
    assert read_image("dark.npy", pixels).unique().tolist() == [26]  # 410 * 255 / 4095


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((40, 48, 3), np.uint8), "it has 40 x 48 x 3 values"),
        (np.full((40, 48, 4), np.nan, np.float32), "7680 of its values are not numbers"),
    ],
)
def test_a_file_that_does_not_fit_stops_the_training_by_name(own, train, values, reason):
    for path in Path("own").rglob("*.npy"):
        np.save(path, values)
    with pytest.raises(SystemExit, match=rf"\d\.npy cannot be read: {reason}"):
        train(*OWN, CHANNELS, "trainer.max_epochs=1")


def test_a_module_takes_as_many_channels_as_the_settings_say(own, train):
    module = load_module(train(*OWN, CHANNELS, "trainer.max_epochs=1") / "checkpoints/best.ckpt")
    assert len(module.predict_images(torch.zeros(2, 4, 32, 32, dtype=torch.uint8))) == 2
