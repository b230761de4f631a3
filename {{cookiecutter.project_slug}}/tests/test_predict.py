import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.data.files_to_predict import output_names

from small import OWN


def test_predictions_are_written_as_pictures_or_tables_into_a_new_folder(train, command, own_data):
    checkpoint = f"checkpoint={train(OWN, f'data.root={own_data}')}/checkpoints/best.ckpt"
    source = f"source={next(own_data.rglob('*.jpg'))}"
    words = (checkpoint, source, "tracking=none", "trainer=cpu")
    run = command("predict", *words, "save=pictures", "output=results/pictures")
    assert not (run / "predictions.csv").exists()
    assert [path.name for path in Path("results/pictures").iterdir()] == ["predictions"]
    assert len(list(Path("results/pictures/predictions").glob("*.jpg"))) == 1
    with pytest.raises(SystemExit, match="results/pictures exists already"):
        command("predict", *words, "output=results/pictures")
    with pytest.raises(SystemExit, match="name the images to predict"):
        command("predict", checkpoint, "source=", "tracking=none")
    run = command("predict", *words, "save=tables", "output=results/tables")
    for folder in (run, Path("results/tables")):
        assert not (folder / "predictions").exists()
    assert {"predictions.csv", "predictions.json"} <= {
        path.name for path in Path("results/tables").iterdir()
    }


def test_a_batch_of_unreadable_images_is_left_out_and_only_unreadable_images_are_refused(
    train, command, own_data, capsys
):
    checkpoint = f"checkpoint={train(OWN, f'data.root={own_data}')}/checkpoints/best.ckpt"
    source = Path("source")
    source.mkdir()
    shutil.copy(next(own_data.rglob("*.jpg")), source / "a.jpg")
    for name in ("y.jpg", "z.jpg"):
        (source / name).write_bytes(b"no image")
    words = (checkpoint, "tracking=none", "trainer=cpu", "data.skip_unreadable=true")
    words += ("loader.batch_size=2", "save=tables")
    (source / "b.jpg").write_bytes((source / "a.jpg").read_bytes())
    capsys.readouterr()
    run = command("predict", *words, "source=source")
    assert len(json.loads((run / "predictions.json").read_text())) == 2
    printed = capsys.readouterr().out
    assert "Predictions of 2 files:" in printed
    written = {path.name for path in run.iterdir()} - {"config.yaml", "environment.json"}
    assert {name for name in written if f"/{name}\n" not in printed} <= {"unreadable.txt"}
    assert "Left out: 2 unreadable images, source/y.jpg, source/z.jpg" in printed
    with pytest.raises(SystemExit, match=r"no file can be read. The first is source/y\.jpg"):
        command("predict", *words, "source='source/[yz].jpg'")
    capsys.readouterr()
    command("predict", *words, "source='source/[az].jpg'")
    printed = capsys.readouterr().out
    assert "Predictions of 1 file:" in printed
    assert "Left out: 1 unreadable image, source/z.jpg" in printed


# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
@pytest.mark.parametrize("more", [(), ("tiles=32",)])
def test_unreadable_images_are_named_after_the_others_are_predicted(
    train, command, own_data, caplog, more
):
    # ~ else
def test_unreadable_images_are_named_after_the_others_are_predicted(
    train, command, own_data, caplog
):
    # ~ endif
    checkpoint = f"checkpoint={train(OWN, f'data.root={own_data}')}/checkpoints/best.ckpt"
    caplog.set_level("INFO")
    source, results = Path("source"), Path("results")
    source.mkdir()
    for name in "abcd":
        shutil.copy(next(own_data.rglob("*.jpg")), source / f"{name}.jpg")
    for name in ("b2.jpg", "e.jpg"):
        (source / name).write_bytes(b"no image")
    words = (checkpoint, "tracking=none", "trainer=cpu", "loader.batch_size=2")
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    words += more
    # ~ endif
    with pytest.raises(SystemExit, match=r"source/b2\.jpg cannot be read"):
        command("predict", *words, "source=source", "output=results")
    assert "2 unreadable images: source/b2.jpg, source/e.jpg (it is a text, which" in caplog.text
    rows = json.loads((results / "predictions.json").read_text())
    assert [row["image"] for row in rows] == [f"source/{name}.jpg" for name in "abcd"]
    assert len(list((results / "predictions").glob("*.jpg"))) == 4
    # ~ if cookiecutter.task == "segmentation"
    assert len(list((results / "masks").glob("*.png"))) == 4
    # ~ elif cookiecutter.task == "detection"
    assert len(json.loads((results / "coco_images.json").read_text())["images"]) == 4
    # ~ endif
    with pytest.raises(SystemExit, match=r"source/e\.jpg cannot be read"):
        command("predict", *words, "source=source/e.jpg", "output=nothing")
    assert not Path("nothing").exists()


def test_outputs_of_equal_names_get_the_position_of_their_source():
    sources = ["00002_a.jpg", "a.jpg", "a.png", "b/A.jpg", "b/c.jpg", "...jpg", ".x.png"]
    names = output_names(map(Path, sources))
    assert [names[Path(source)] for source in sources] == [
        "00002_a",
        "a",
        "00002_00002_a",
        "00003_A",
        "c",
        "00005_..",
        "00006_.x",
    ]


def test_names_that_are_no_text_or_too_long_become_names_of_files():
    sources = [os.fsdecode(b"caf\xe9.jpg"), "caf.jpg", os.fsdecode(b"\xff.jpg"), "é" * 120 + ".jpg"]
    names = output_names(map(Path, sources))
    assert [*names.values()] == ["caf", "00001_caf", "00002_", "é" * 80]


def test_each_image_has_its_own_outputs_whatever_its_name(train, command, own_data):
    checkpoint = f"checkpoint={train(OWN, f'data.root={own_data}')}/checkpoints/best.ckpt"
    image = next(own_data.rglob("*.jpg"))
    paths = ["..jpg", "00001_a.jpg", "a.jpg", "b/a.jpg", "c/A.jpg", f"{'x' * 251}.jpg"]
    paths += [os.fsdecode(b"b/caf\xe9.jpg"), "=1+1.jpg", "[red]a\nb.jpg"]
    sources = [Path("source") / path for path in paths]
    for source in sources:
        source.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy(image, source)
        except OSError:
            pytest.skip("This file system has no such names.")
    run = command("predict", checkpoint, "source=source", "tracking=none", "trainer=cpu")
    assert len(list((run / "predictions").glob("*.jpg"))) == len(paths)
    rows = json.loads((run / "predictions.json").read_text(encoding="utf-8"))
    assert {row["image"] for row in rows} == {str(source) for source in sources}
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(paths)
    # ~ if cookiecutter.task == "segmentation"
    assert len(list((run / "masks").glob("*.png"))) == len(paths)
    # ~ elif cookiecutter.task == "detection"
    assert len(json.loads((run / "coco_images.json").read_text(encoding="utf-8"))["images"]) == 9
    # ~ endif
