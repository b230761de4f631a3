import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from {{ cookiecutter.package_name }}.classification.dataset import Batch
from {{ cookiecutter.package_name }}.classification.scoring import (
    MacroF1,
    ranked,
    score_batch,
)


def test_the_f1_of_a_class_without_images_is_undefined():
    metric = MacroF1(3, average="macro")
    metric.update(torch.tensor([0, 2, 1]), torch.tensor([0, 0, 1]))
    assert float(metric.compute()) == pytest.approx((2 / 3 + 1) / 2)  # not a third of it


def test_a_prediction_ranks_the_five_most_probable_classes():
    probabilities = torch.tensor([[0.05, 0.3, 0.1, 0.2, 0.02, 0.25, 0.08]])
    ((*ranking,),) = ranked(probabilities)
    assert [label for label, _ in ranking] == [1, 5, 3, 2, 6]
    assert [value for _, value in ranking] == pytest.approx([0.3, 0.25, 0.2, 0.1, 0.08])


def test_images_are_scored_and_those_of_another_process_are_left_out():
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.15, 0.6], [0.1, 0.8, 0.1]])
    batch = Batch(images, torch.tensor([0, 1, 1]), torch.tensor([4, 5, 0]), [])
    counted = torch.tensor([True, True, False])
    logits = probabilities.log()
    losses = cross_entropy(logits, batch.targets, reduction="none")
    # ~ if cookiecutter.scope == "complete"
    results = score_batch(batch, logits, losses, counted, ["a", "b", "c"], None)
    # ~ else
    results = score_batch(batch, logits, losses, counted, ["a", "b", "c"])
    # ~ endif
    first, second = results["images"]
    assert (first.position, first.target, first.correct) == (4, 0, True)
    # ~ if cookiecutter.scope == "complete"
    assert (first.prediction.labels, second.prediction.labels) == ([0], [2])
    # ~ else
    assert (first.prediction.label, second.prediction.label) == (0, 2)
    # ~ endif
    assert (second.position, second.correct) == (5, False)
    assert (second.confidence, second.loss) == pytest.approx((0.6, -np.log(0.15)))
    counts = results["counts"]
    assert counts.confusion.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert counts.targets.tolist() == [1, 1, 0]
    curves = counts.curves()
    assert [curves.recall[0, at] for at in (69, 75)] == [1, 0]
    assert curves.precision[0, 10] == 1 / 2  # both images are assigned to a
