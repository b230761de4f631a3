"""What makes a training a matter of seconds, and a small data set that is not the embedded one."""

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
from {{ cookiecutter.package_name }}.settings.launch import CONFIGS

# ~ if cookiecutter.task == "detection"
from coco_data import write_coco

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
    """The settings of a command, as Hydra composes them; they are not checked."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, list(overrides))


@cache
def data_preset(name):
    """The settings of a file in ``configs/data``, as plain values."""
    return OmegaConf.to_container(composed(f"data={name}").data, resolve=True)


def use(monkeypatch, name, *overrides):
    """Run a command as a user would; returns the run folder that it made or continued."""
    before = {folder: folder.stat().st_mtime_ns for folder in Path("runs").glob("*")}
    monkeypatch.setattr(sys, "argv", [name, *overrides])
    monkeypatch.delenv(cli.RUN_ID, raising=False)
    getattr(cli, name)()
    after = {folder: folder.stat().st_mtime_ns for folder in Path("runs").glob("*")}
    return max(folder for folder in after if after[folder] != before.get(folder))


# ~ if cookiecutter.task == "classification"
LIVELY = ()  # what makes a model say something
OWN = "data=imagefolder"


def write_own_data(root):
    """Two classes of plain colours, not split; returns one of the images."""
    for name, color in {"blue": (20, 40, 200), "red": (200, 40, 20)}.items():
        (root / name).mkdir(parents=True)
        for index in range(10):
            shade = tuple(min(255, value + index) for value in color)
            Image.new("RGB", (48, 40), shade).save(root / name / f"{index}.jpg")
    return root / "blue" / "0.jpg"


def says_the_same(printed, row):
    """Whether the model card's lines say what the table of predictions does."""
    label, confidence = printed.split()
    return label == row["label"] and abs(float(confidence) - row["confidence"]) < 0.02
# ~ elif cookiecutter.task == "detection"
LIVELY = ("trainer.max_epochs=6", "model.score_threshold=0.1")  # what makes a model say something
OWN = "data=coco"


def write_own_data(root):
    """A red box on blue ground, listed as COCO does; returns one of the images."""
    write_coco(root)
    return root / "train" / "0.jpg"


def says_the_same(printed, row):
    """Whether the model card's lines say what the table of predictions does."""
    labels = sorted(line.split()[0] for line in printed.splitlines())
    return labels and labels == sorted(one.split()[0] for one in row["found"].split(", "))
# ~ elif cookiecutter.task == "segmentation"
LIVELY = ()  # what makes a model say something
OWN = "data=maskfolder"


def write_own_data(root):
    """A red half beside a blue half, with their masks; returns one of the images."""
    for split in ("train", "val", "test"):
        for name in ("images", "masks"):
            (root / name / split).mkdir(parents=True)
        for index in range(10):
            image = Image.new("RGB", (48, 40), (20, 40, 200))
            image.paste((200, 40, 20), (0, 0, 20 + index, 40))
            image.save(root / "images" / split / f"{index}.jpg")
            mask = Image.new("L", (48, 40), 0)
            mask.paste(1, (0, 0, 20 + index, 40))
            mask.save(root / "masks" / split / f"{index}.png")
    (root / "classes.txt").write_text("blue\nred\n")
    return root / "images" / "train" / "0.jpg"


def says_the_same(printed, row):
    """Whether the model card's lines say what the table of predictions does."""
    shares = dict(line.split() for line in printed.splitlines())
    return all(abs(float(shares[name]) - row[name]) < 0.02 for name in shares)
# ~ endif
