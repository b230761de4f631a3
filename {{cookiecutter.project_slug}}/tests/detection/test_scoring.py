"""Boxes are given their objects, and counted."""

import pytest
import torch

from {{ cookiecutter.package_name }}.detection.boxes import Prediction, Target
from {{ cookiecutter.package_name }}.detection.dataset import Batch
from {{ cookiecutter.package_name }}.detection.matching import match
from {{ cookiecutter.package_name }}.detection.scoring import score_batch

BOXES = torch.tensor([[0, 0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0, 0.6, 0.3, 0.9]])
# Two objects of the classes a and b, and a crowd of b.
TARGET = Target(
    BOXES, torch.tensor([0, 1, 1]), torch.tensor([False, False, True]), BOXES[:, 0], (9, 9)
)
# Around a and b and once more around a, all taken for a; within the crowd; nowhere, and weak.
PREDICTION = Prediction(
    torch.cat(
        [BOXES[:2] + 0.01, BOXES[:1], torch.tensor([[0.1, 0.7, 0.2, 0.8], [0.9, 0, 1, 0.1]])]
    ),
    torch.tensor([0.9, 0.8, 0.7, 0.6, 0.2]),
    torch.tensor([0, 0, 0, 1, 1]),
)


def scored(prediction, threshold=0.5):
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    batch = Batch(images, [TARGET, TARGET], torch.tensor([6, 0]), [])
    own = torch.tensor([True, False])  # the second image is counted by another process
    results = score_batch(batch, [prediction, prediction], own, ["a", "b"], threshold)
    (image,) = results["images"]
    return image, results["counts"]


def test_a_box_is_given_an_object_of_its_class_and_a_crowd_is_ignored():
    assert match(PREDICTION, TARGET).tolist() == [0, -1, -1, -2, -1]
    assert match(PREDICTION, TARGET, same_class=False).tolist() == [0, 1, -1, -2, -1]


def test_the_surest_box_is_given_its_object_first():
    scores = torch.tensor([0.5, 0.8, 0.7, 0.6, 0.2])
    assert match(PREDICTION._replace(scores=scores), TARGET).tolist() == [-1, -1, 0, -2, -1]


def test_without_boxes_or_without_objects_nothing_is_matched():
    none = Prediction(*(part[:0] for part in PREDICTION))
    assert match(none, TARGET).tolist() == []
    empty = Target(*(part[:0] for part in TARGET[:4]), TARGET.size)
    assert match(PREDICTION, empty).tolist() == [-1] * 5


def test_the_confusion_of_boxes_counts_background_on_both_sides():
    _, counts = scored(PREDICTION)
    # Rows are targets: an a is found, a b is taken for a, and an a is where nothing is.
    assert counts.confusion.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0]]
    _, counts = scored(Prediction(*(part[:0] for part in PREDICTION)))
    assert counts.confusion[:, 2].tolist() == [1, 1, 0]


def test_scores_are_counted_and_an_image_is_rated_by_its_boxes_above_the_threshold():
    image, counts = scored(PREDICTION)
    assert counts.targets.tolist() == [1, 1]
    curves = counts.curves()
    assert curves.precision[0, [85, 75, 50]].tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    assert curves.recall[:, 10].tolist() == [1, 0]
    assert curves.precision[1, 10] == 0  # the weak box; that in the crowd does not count
    assert len(image.prediction.labels) == 4
    assert image.loss == pytest.approx(1 - 2 / (3 + 2))
    assert image.confidence == pytest.approx(0.75)
    assert not image.correct


def test_an_image_whose_objects_are_all_found_has_no_loss():
    image, _ = scored(Prediction(BOXES[:2], torch.tensor([0.9, 0.6]), torch.tensor([0, 1])))
    assert image.position == 6
    assert (image.loss, image.correct) == (0, True)
