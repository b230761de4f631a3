"""Boxes are matched with objects, and counted."""

import pytest
import torch

from {{ cookiecutter.package_name }}.detection.boxes import Prediction, Target
from {{ cookiecutter.package_name }}.detection.dataset import Batch
from {{ cookiecutter.package_name }}.detection.scoring import match, score_batch

BOXES = torch.tensor([[0, 0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0, 0.6, 0.3, 0.9]])
# Two objects of the classes a and b, and a crowd of b.
TARGET = Target(
    BOXES, torch.tensor([0, 1, 1]), torch.tensor([False, False, True]), BOXES[:, 0], (9, 9)
)
# All of class a: on object a, on object b, again on object a. Of class b: in the crowd, nowhere.
PREDICTION = Prediction(
    torch.cat(
        [BOXES[:2] + 0.01, BOXES[:1], torch.tensor([[0.1, 0.7, 0.2, 0.8], [0.9, 0, 1, 0.1]])]
    ),
    torch.tensor([0.9, 0.8, 0.7, 0.6, 0.2]),
    torch.tensor([0, 0, 0, 1, 1]),
)


def scored(prediction, threshold=0.5, target=TARGET):
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    batch = Batch(images, [target, target], torch.tensor([6, 0]), [])
    counted = torch.tensor([True, False])  # the second image is counted by another process
    results = score_batch(batch, [prediction, prediction], counted, ["a", "b"], threshold)
    (image,) = results["images"]
    return image, results["counts"]


def test_a_box_is_matched_with_an_object_of_its_class_and_a_crowd_is_ignored():
    assert match(PREDICTION, TARGET).tolist() == [0, -1, -1, -2, -1]
    assert match(PREDICTION, TARGET, same_class=False).tolist() == [0, 1, -1, -2, -1]


def test_the_box_with_the_highest_score_is_matched_first():
    scores = torch.tensor([0.5, 0.8, 0.7, 0.6, 0.2])
    assert match(PREDICTION._replace(scores=scores), TARGET).tolist() == [-1, -1, 0, -2, -1]


def test_without_boxes_or_without_objects_nothing_is_matched():
    none = Prediction(*(part[:0] for part in PREDICTION))
    assert match(none, TARGET).tolist() == []
    empty = Target(*(part[:0] for part in TARGET[:4]), TARGET.size)
    assert match(PREDICTION, empty).tolist() == [-1] * 5


def test_the_confusion_of_boxes_counts_background_on_both_sides():
    _, counts = scored(PREDICTION)
    # Rows are targets a, b and background: each has a prediction of class a.
    assert counts.confusion.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0]]
    _, counts = scored(Prediction(*(part[:0] for part in PREDICTION)))
    assert counts.confusion[:, 2].tolist() == [1, 1, 0]


def test_an_image_is_scored_by_its_boxes_above_the_threshold():
    image, counts = scored(PREDICTION)
    assert counts.targets.tolist() == [1, 1]
    curves = counts.curves()
    assert curves.precision[0, [85, 75, 50]].tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    assert curves.recall[:, 10].tolist() == [1, 0]
    assert curves.precision[1, 10] == 0  # the box outside of the crowd
    assert len(image.prediction.labels) == 4
    assert image.loss == pytest.approx(1 - 2 / (3 + 2))
    assert image.confidence == pytest.approx(0.75)
    assert not image.correct


def test_an_image_whose_objects_are_all_detected_has_no_loss():
    image, _ = scored(Prediction(BOXES[:2], torch.tensor([0.9, 0.6]), torch.tensor([0, 1])))
    assert image.position == 6
    assert (image.loss, image.correct) == (0, True)


class OnDevice(torch.Tensor):
    """A tensor that stands for one on a GPU, until it is copied."""

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_all_of_the_target_is_copied_from_the_gpu():
    target = Target(*(part.as_subclass(OnDevice) for part in TARGET[:4]), TARGET.size)
    image, _ = scored(PREDICTION, target=target)
    assert [type(part) for part in image.target[:4]] == [torch.Tensor] * 4
