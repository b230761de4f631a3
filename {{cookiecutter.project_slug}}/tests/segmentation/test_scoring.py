import pytest
import torch

from {{ cookiecutter.package_name }}.segmentation.dataset import Batch
from {{ cookiecutter.package_name }}.segmentation.scoring import score_batch


def test_images_are_scored_by_their_known_pixels():
    targets = torch.zeros(2, 4, 4, dtype=torch.int64)
    targets[0, 0, 0] = 1
    targets[0, 3] = 255
    batch = Batch(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), targets, torch.tensor([3, 0]), [])
    probabilities = torch.tensor([0.8, 0.2])[None, :, None, None].expand(2, 2, 4, 4)
    counted = torch.tensor([True, False])  # the second image is counted by another process
    confusion = torch.tensor([[11, 0], [1, 0]])
    results = score_batch(batch, probabilities.log(), counted, confusion, ["ground", "thing"])
    (image,) = results["images"]
    assert image.position == 3
    assert image.prediction.mask.tolist() == torch.zeros(4, 4).tolist()
    assert image.target.tolist() == targets[0].tolist()
    assert image.correct == pytest.approx(11 / 12)
    assert image.confidence == pytest.approx(0.8)
    entropy = -torch.tensor([0.8] * 11 + [0.2]).log().mean()
    assert image.loss == pytest.approx(float(entropy))
    counts = results["counts"]
    assert counts.confusion.tolist() == [[11, 0], [1, 0]]
    assert counts.targets.tolist() == [11, 1]
    curves = counts.curves()
    assert curves.precision[:, 10].tolist() == pytest.approx([11 / 12, 1 / 12])
    assert curves.recall[:, 50].tolist() == [1, 0]


def test_an_image_without_annotated_pixels_is_neither_the_best_nor_the_worst():
    targets = torch.zeros(2, 4, 4, dtype=torch.int64)
    targets[0] = 255
    batch = Batch(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), targets, torch.tensor([3, 5]), [])
    logits, counted = torch.zeros(2, 2, 4, 4), torch.tensor([True, True])
    results = score_batch(batch, logits, counted, torch.zeros(2, 2).long(), ["ground", "thing"])
    assert [image.position for image in results["images"]] == [5]


def test_the_scores_of_an_image_do_not_depend_on_its_batch():
    torch.manual_seed(0)
    batch = Batch(
        torch.zeros(2, 3, 96, 96, dtype=torch.uint8),
        torch.randint(0, 3, (2, 96, 96)),
        torch.tensor([0, 1]),
        [],
    )
    logits, confusion = torch.randn(2, 3, 96, 96), torch.zeros(3, 3)
    selections = torch.tensor([[True, True], [True, False], [False, True]])
    both, *each = (
        score_batch(batch, logits, counted, confusion.long(), ["a", "b", "c"])["counts"]
        for counted in selections
    )
    each[0] += each[1]
    assert 2 * 1500 < both.targets.sum() < 2 * 2500
    assert (both.correct == each[0].correct).all()
    assert (both.wrong == each[0].wrong).all()
