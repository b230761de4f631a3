"""Images of validation samples: what was logged is what was seen."""

# ~ if cookiecutter.task == "detection"
import json

import pytest
import torch
import yaml
from PIL import Image

from {{ cookiecutter.package_name }}.detection.boxes import Prediction
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
from {{ cookiecutter.package_name }}.settings.schema import Settings
from {{ cookiecutter.package_name }}.tracking.task import box_data

# ~ elif cookiecutter.task == "segmentation"
import numpy as np
import torch
import yaml
from PIL import Image

from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.settings.schema import Settings
from {{ cookiecutter.package_name }}.tracking.task import overlay
from {{ cookiecutter.package_name }}.training.callbacks.pictures import PredictedSample

# ~ else
from PIL import Image

# ~ endif
from reading import artifacts, history, logged, media


def test_validation_images_have_captions(recorded):
    rows = [row for row in history(recorded) if "val/predictions" in row]
    assert [row["epoch"] for row in rows] == [0, 1]
    epochs = logged(recorded, "val/predictions")
    for images in epochs:
        assert len(images["filenames"]) == len(images["captions"]) == 5
        assert all(0 < len(caption) <= 60 for caption in images["captions"])
        for name in images["filenames"]:
            with Image.open(media(recorded, name)) as image:
                assert (image.format, image.size) == ("JPEG", (32, 32))


# ~ if cookiecutter.task != "classification"
def validation_samples(run):
    """The samples that the images of ``recorded`` show."""
    settings = Settings.model_validate(yaml.safe_load((run / "config.yaml").read_text()))
    root = run.parents[1] / "data" / "shapes"
    dataset = build_datasets(settings.data.model_copy(update={"root": root})).val
    return [dataset[index] for index in torch.linspace(0, len(dataset) - 1, 6).long().tolist()[:5]]


# ~ endif
# ~ if cookiecutter.task == "detection"
def test_boxes_end_at_the_border_and_are_left_out_if_they_are_not_finite():
    boxes = torch.tensor([[-0.5, 0.1, 0.5, 9.0], [0.1, torch.nan, 0.2, 0.3], [0, 0, torch.inf, 1]])
    found = Prediction(boxes, torch.tensor([0.5, 0.6, 0.7]), torch.tensor([1, 0, 0]))
    content = box_data(found, ["a", "b"])
    (box,) = content["box_data"]
    assert box["position"] == pytest.approx({"minX": 0, "minY": 0.1, "maxX": 0.5, "maxY": 1})
    assert (box["class_id"], box["box_caption"]) == (1, "b 50%")
    assert content["class_labels"] == {0: "a", 1: "b"}


def test_boxes_of_targets_and_predictions_lie_over_the_images(recorded):
    images = logged(recorded, "val/predictions")[0]
    for boxes, sample in zip(images["all_boxes"], validation_samples(recorded), strict=True):
        drawn = {
            key: json.loads(media(recorded, boxes[key]["path"]).read_text())
            for key in ("prediction", "target")
        }
        targets = drawn["target"]["box_data"]
        corners = torch.tensor([list(box["position"].values()) for box in targets])
        torch.testing.assert_close(corners.reshape(-1, 4), sample.target.boxes)
        assert [box["class_id"] for box in targets] == sample.target.labels.tolist()
        for box in drawn["prediction"]["box_data"]:
            assert box["box_caption"].endswith(f"{box['scores']['score']:.0%}")


# ~ elif cookiecutter.task == "segmentation"
def test_a_mask_has_the_size_of_its_image():
    sample = PredictedSample(None, torch.tensor([[0, 1], [255, 1]]), prediction=None)
    masks = overlay(sample, ["a", "b"], Image.new("RGB", (4, 2)))
    target = masks["masks"]["target"]
    assert target["mask_data"].tolist() == [[0, 0, 1, 1], [255, 255, 1, 1]]
    assert target["mask_data"].dtype == np.uint8
    assert target["class_labels"] == {0: "a", 1: "b"}


def test_masks_of_targets_and_predictions_lie_over_the_images(recorded):
    images = logged(recorded, "val/predictions")[0]
    for masks, sample in zip(images["all_masks"], validation_samples(recorded), strict=True):
        stored = {}
        for key in ("prediction", "target"):
            with Image.open(media(recorded, masks[key]["path"])) as ids:
                stored[key] = torch.from_numpy(np.array(ids.convert("L")))
        assert stored["prediction"].max() < 6
        assert torch.equal(stored["target"], sample.target)


# ~ endif
def test_images_are_as_rare_and_as_small_as_the_settings_ask_for(tracked):
    run = tracked(
        "trainer.max_epochs=3",
        "pictures.every_n_epochs=2",
        "tracking.media.images=1",
        "data.image_size=64",
        "tracking.media.pixels=32",
        "tracking.log_model=null",
    )
    (images,) = logged(run, "val/predictions")
    with Image.open(media(run, images["filenames"][0])) as image:
        assert image.size == (32, 32)
    assert not artifacts(run, "model")
