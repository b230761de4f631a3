import json
import re

# ~ if cookiecutter.task == "classification"
import numpy as np
# ~ endif
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from {{ cookiecutter.package_name }}.diagnostics.profiling import Machine, advice
from {{ cookiecutter.package_name }}.diagnostics.settings import BenchSettings
from {{ cookiecutter.package_name }}.settings import launch
from {{ cookiecutter.package_name }}.settings.check import check

# ~ if cookiecutter.task == "detection"
import coco_data
# ~ endif
import small

QUICK = (*small.SMALL, "warmup=1", "steps=2", "trainer.progress=false")


# ~ if cookiecutter.task == "classification"
def write_faulty(root):
    """Images of noise, one class rare; returns what is wrong with them, by kind."""
    random = np.random.default_rng(0)
    for split, ants in (("train", 45), ("val", 5), ("test", 5)):
        for name, count in (("ant", ants), ("bee", 2)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    ants = root / "train" / "ant"
    (ants / "again.png").write_bytes((ants / "1.png").read_bytes())
    Image.open(ants / "0.png").save(root / "val" / "bee" / "other.bmp")
    (ants / "broken.png").write_bytes((ants / "2.png").read_bytes()[:200])
    return {
        "leak": ["val/bee/other.bmp: the same pixels as .*train/ant/0.png"],
        "unreadable": ["train/ant/broken.png"],
        "duplicate": ["train/ant/again.png: the same pixels as .*train/ant/1.png"],
    }


# ~ elif cookiecutter.task == "detection"
def write_faulty(root):
    """The same images in all splits, and strange boxes; returns what is wrong, by kind."""

    def spoil(split, content):
        if split == "train":
            boxes = content["annotations"]
            boxes[0]["bbox"] = [40, 6, 20, 16]
            boxes[1]["bbox"] = [4, 6, 0, 10]
            boxes[2]["bbox"] = [4, 6, 1, 10]
            boxes.append({**boxes[3], "id": 5000})

    coco_data.write_coco(root, spoil)
    (root / "train" / "9.jpg").write_bytes(b"")
    return {
        "leak": [f"{split}/{index}.jpg: the same" for split in ("val", "test") for index in "01"],
        "unreadable": ["train/9.jpg"],
        "annotation": [
            r"0.jpg: annotation 1000 is beyond the border: \[40, 6, 20, 16\]",
            r"1.jpg: annotation 1001 has a box without area: \[4, 6, 0, 10\]",
            "2.jpg: box 0 is 1 x 10 pixels",
            "3.jpg: 1 boxes are there twice",
        ],
    }


# ~ elif cookiecutter.task == "segmentation"
def write_faulty(root):
    """The same images in all splits, and strange masks; returns what is wrong, by kind."""
    small.write_own_data(root)
    Image.new("L", (48, 40), 7).save(root / "masks" / "train" / "0.png")
    Image.new("L", (48, 40), 255).save(root / "masks" / "train" / "1.png")
    (root / "images" / "train" / "2.jpg").write_bytes(b"")
    return {
        "leak": [f"{split}/{index}.jpg: the same" for split in ("val", "test") for index in "34"],
        "unreadable": [r"masks/train/0.png: it holds the ids \[7\]", "images/train/2.jpg"],
        "annotation": ["images/train/1.jpg: nothing is labelled in its mask"],
    }


# ~ endif
def test_what_is_wrong_with_the_data_is_told_drawn_and_kept(command, tmp_path, capsys):
    root = tmp_path / "photos"
    planted = write_faulty(root)
    run = command("doctor", *QUICK, small.OWN, f"data.root={root}", "loader.batch_size=4")
    finds = json.loads((run / "doctor.json").read_text())["finds"]
    told = [f"{find['kind']} {find['path']}: {find['reason']}" for find in finds]
    for kind, patterns in planted.items():
        for pattern in patterns:
            assert any(re.search(f"^{kind} .*{pattern}", line) for line in told), pattern
    assert {find["kind"] for find in finds} == set(planted)
    said = capsys.readouterr().out
    # ~ if cookiecutter.task == "classification"
    assert len(finds) == 3
    assert "train has 46 images of ant, but 2 of bee" in said
    # ~ elif cookiecutter.task == "detection"
    assert len([find for find in finds if find["kind"] == "annotation"]) == 4
    assert "train has no green" in said
    # ~ endif
    assert f"{len([1 for find in finds if find['kind'] == 'leak'])} are in another split" in said
    with Image.open(run / "finds.png") as sheet:
        assert sheet.width > 256
    assert (run / "class_balance.png").is_file()


def test_embedded_data_are_healthy_and_what_takes_the_time_is_told(command, capsys):
    run = command("doctor", *QUICK, *small.SHAPES)
    report = json.loads((run / "doctor.json").read_text())
    assert report["images"] == {"train": 40, "val": 20, "test": 20}
    assert not report["finds"]
    assert not (run / "finds.png").exists()
    assert list(report["milliseconds"]) == ["storage", "decode", "augment", "copy", "step"]
    assert min(report["milliseconds"].values()) >= 0
    said = capsys.readouterr().out
    assert "Nothing unreadable, nothing twice, nothing in two splits." in said
    assert report["advice"] in said


STAGES = {"storage": 1.0, "decode": 1.0, "augment": 1.0, "copy": 0.0, "step": 1.0}
PC = Machine(processors=8, gpu=False, bf16=False, memory_gb=0.0)
GPU = Machine(processors=8, gpu=True, bf16=True, memory_gb=80.0)


@pytest.mark.parametrize(
    ("loader", "stages", "words", "machine", "expected"),
    [
        (50, {}, ["loader.workers=2"], PC, "loader.workers=8"),
        (50, {"storage": 9.0}, [], PC, "reading files is slowest, which data.cache=disk"),
        (50, {"decode": 9.0}, [], PC, "decoding is slowest, which data.cache=disk"),
        (50, {"decode": 9.0}, ["data.cache=disk"], PC, "faster disk"),
        (50, {"augment": 9.0}, [], PC, "data.augment"),
        (500, {}, [], PC, "smaller model.backbone"),
        (500, {}, ["trainer=cpu"], GPU, "trainer.accelerator=gpu"),
        (500, {}, ["trainer.precision=32-true"], GPU, "trainer.precision=bf16-mixed"),
        (500, {}, ["loader.batch_size=24"], GPU, "loader.batch_size=48"),
        (500, {}, ["memory"], GPU, "model.compile=true"),
        (500, {}, ["memory", "model.compile=true"], GPU, "more GPUs"),
    ],
)
def test_the_advice_names_the_setting_to_change(loader, stages, words, machine, expected):
    full = "memory" in words
    overrides = [word for word in words if word != "memory"]
    with initialize_config_dir(str(launch.CONFIGS), version_base="1.3"):
        settings = check(compose("doctor", overrides), BenchSettings)
    rates = {
        "loader_images_per_second": loader,
        "model_images_per_second": 100,
        "data_wait": 0.6 if loader < 100 else 0.01,
        "memory_gb": 70 if full else 7,
    }
    sentence = advice(STAGES | stages, rates, settings, machine)
    assert expected in sentence
    assert sentence.startswith("Training waits for data 60%" if loader < 100 else "The model")
