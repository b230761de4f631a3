"""Overrides for a training of seconds, and a small data set in place of the generated shapes."""

import sys
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
# ~ if cookiecutter.task == "detection"
from omegaconf import OmegaConf

# ~ else
from omegaconf import OmegaConf
from PIL import Image

# ~ endif
from {{ cookiecutter.package_name }} import cli
from {{ cookiecutter.package_name }}.settings.schema import LoaderSettings
from {{ cookiecutter.package_name }}.settings.stored_settings import CONFIGS

# ~ if cookiecutter.task == "detection"
from coco_data import write_coco, write_unsplit

# ~ endif
SHAPES = ("data.train_images=40", "data.val_images=20", "data.test_images=20")
SMALL = (
    "data.image_size=32",
    "model.backbone=test_resnet",
    # ~ if cookiecutter.task == "detection"
    "model.channels=64",
    # ~ elif cookiecutter.task == "segmentation"
    "model.architecture=linknet",
    # ~ endif
    "loader.batch_size=10",
    "loader.workers=0",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "trainer.progress=false",
    "tracking=none",
)


def composed(*overrides, name="train"):
    """Compose the settings of a command without checking them."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, list(overrides))


@cache
def data_preset(name):
    """The settings of a file in ``configs/data``, as plain values."""
    return OmegaConf.to_container(composed(f"data={name}").data, resolve=True)


def loader_settings(**values):
    """The default settings of the loader, except for these values."""
    return LoaderSettings(**{**composed().loader, **values})


def run_command(monkeypatch, name, *overrides):
    """Run a command with overrides; returns its run folder, which may have existed before."""
    before = {folder: folder.stat().st_mtime_ns for folder in Path("runs").glob("*")}
    monkeypatch.setattr(sys, "argv", [name, *overrides])
    monkeypatch.delenv(cli.RUN_ID, raising=False)
    getattr(cli, name)()
    after = {folder: folder.stat().st_mtime_ns for folder in Path("runs").glob("*")}
    return max(folder for folder in after if after[folder] != before.get(folder))


# ~ if cookiecutter.task == "classification"
TRAINED_LONGER = ()
OWN = "data=imagefolder"


# ~ if cookiecutter.scope == "complete"
STRIPES = {"blue": (20, 40, 200), "green": (20, 200, 40), "red": (200, 40, 20)}


def write_striped(root):
    """Write images with stripes of some of three colours, which are their labels, in a CSV file."""
    root.mkdir()
    rows = ["path,labels"]
    for index in range(48):
        image = Image.new("RGB", (48, 48), (90, 90, 90))
        names = [name for bit, name in enumerate(STRIPES) if index >> bit & 1]
        for row, name in enumerate(STRIPES):
            if name in names:
                image.paste(STRIPES[name], (0, 16 * row, 48, 16 * row + 16))
        image.save(root / f"{index}.png")
        rows.append(f"{index}.png,{'|'.join(names)}")
    (root / "labels.csv").write_text("\n".join(rows))


def agrees_with_row(printed, row):
    """Whether the lines printed by the model card agree with a row of the table of predictions."""
    label, confidence = printed.split()
    return label == row["label"] and abs(float(confidence) - row["confidence"]) < 0.02


# ~ endif
def write_own_data(root):
    """Write unsplit images of two plain colours, the classes; return the path of an image."""
    write_unsplit_data(root)
    return root / "blue" / "0.jpg"


def write_unsplit_data(root, count=20):
    """Write images without splits."""
    for name, color in {"blue": (20, 40, 200), "red": (200, 40, 20)}.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count // 2):
            shade = tuple(min(255, value + index) for value in color)
            Image.new("RGB", (48, 40), shade).save(root / name / f"{index}.jpg")
# ~ elif cookiecutter.task == "detection"
TRAINED_LONGER = ("trainer.max_epochs=6", "model.score_threshold=0.1")
OWN = "data=coco"


def write_own_data(root):
    """Write images with a red box, and COCO annotations; return the path of an image."""
    write_coco(root)
    return root / "train" / "0.jpg"


write_unsplit_data = write_unsplit


def agrees_with_row(printed, row):
    """Whether the lines printed by the model card agree with a row of the table of predictions."""
    labels = sorted(line.split()[0] for line in printed.splitlines())
    return labels and labels == sorted(found["label"].split()[0] for found in row["objects"])
# ~ elif cookiecutter.task == "segmentation"
TRAINED_LONGER = ()
OWN = "data=maskfolder"


def write_own_data(root):
    """Write images with a red left part, and their masks; return the path of an image."""
    for split in ("train", "val", "test"):
        _write_pairs(root / "images" / split, root / "masks" / split, 10)
    (root / "classes.txt").write_text("blue\nred\n")
    return root / "images" / "train" / "0.jpg"


def write_unsplit_data(root, count=20):
    """Write images without splits."""
    _write_pairs(root / "images", root / "masks", count)
    (root / "classes.txt").write_text("blue\nred\n")


def _write_pairs(images, masks, count):
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image = Image.new("RGB", (48, 40), (20, 40, 200))
        image.paste((200, 40, 20), (0, 0, 20 + index, 40))
        image.save(images / f"{index}.jpg")
        mask = Image.new("L", (48, 40), 0)
        mask.paste(1, (0, 0, 20 + index, 40))
        mask.save(masks / f"{index}.png")


def agrees_with_row(printed, row):
    """Whether the lines printed by the model card agree with a row of the table of predictions."""
    shares = dict(line.split() for line in printed.splitlines())
    return all(abs(float(shares[name]) - row[name]) < 0.02 for name in shares)
# ~ endif
