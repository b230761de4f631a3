import contextlib
import io

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import distributed, multiprocessing

from {{ cookiecutter.package_name }}.detection.boxes import Prediction, Target
from {{ cookiecutter.package_name }}.detection.metrics import CocoScores

CLASSES = ["a", "b", "c", "never seen"]
SIZE = (480, 640)


def scene(index):
    """Objects of all sizes, some of them crowds, some images without; and rough detections."""
    rng = np.random.default_rng(index)
    count = 0 if index % 7 == 0 else int(rng.integers(1, 9))
    sides = 10 ** rng.uniform(-1.7, -0.3, (count, 2))
    corners = rng.uniform(0, 1 - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    labels = rng.integers(0, 3, count)
    target = Target(
        torch.from_numpy(boxes),
        torch.from_numpy(labels),
        torch.from_numpy(rng.random(count) < 0.15),
        torch.from_numpy((sides.prod(axis=1) * SIZE[0] * SIZE[1]).astype(np.float32)),
        SIZE,
    )
    # Each object is found twice and roughly, at times as something else; some boxes are nowhere.
    found = np.concatenate([boxes, boxes, rng.uniform([0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], (3, 4))])
    found[: 2 * count] += rng.normal(0, 0.1, (2 * count, 4)) * np.tile(sides, (2, 2))
    wrong = rng.random(2 * count) < 0.2
    seen = np.where(wrong, rng.integers(0, 3, 2 * count), np.concatenate([labels, labels]))
    scores = np.sort(rng.random(len(found)))[::-1].copy()
    prediction = Prediction(
        torch.from_numpy(found.clip(0, 1).astype(np.float32)),
        torch.from_numpy(scores.astype(np.float32)),
        torch.from_numpy(np.concatenate([seen, rng.integers(0, 3, 3)])),
    )
    return prediction, target


def measured(indices):
    scores = CocoScores(CLASSES)
    for index in indices:
        prediction, target = scene(index)
        scores.update(torch.tensor([index]), [prediction], [target])
    return scores.compute()


def corner_and_sides(boxes):
    height, width = SIZE
    pixels = boxes.double().numpy() * [width, height, width, height]
    return np.concatenate([pixels[:, :2], pixels[:, 2:] - pixels[:, :2]], axis=1).tolist()


def reference(indices):
    """pycocotools on the same scenes, put together here and not by the project's code."""
    annotations, results = [], []
    for index in indices:
        prediction, target = scene(index)
        for box, label, crowd, area in zip(
            corner_and_sides(target.boxes), target.labels, target.crowd, target.areas, strict=True
        ):
            row = {"id": len(annotations) + 1, "image_id": index, "bbox": box, "area": float(area)}
            annotations.append(row | {"category_id": int(label), "iscrowd": int(crowd)})
        for box, label, score in zip(
            corner_and_sides(prediction.boxes), prediction.labels, prediction.scores, strict=True
        ):
            row = {"image_id": index, "bbox": box, "score": float(score)}
            results.append(row | {"category_id": int(label)})
    truth = COCO()
    truth.dataset = {
        "images": [{"id": index, "height": SIZE[0], "width": SIZE[1]} for index in indices],
        "annotations": annotations,
        "categories": [{"id": label, "name": name} for label, name in enumerate(CLASSES)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def test_the_scores_are_those_of_pycocotools():
    indices = range(60)
    scores, expected = measured(indices), reference(indices)
    names = ["mAP", "mAP_50", "mAP_75", "mAP_small", "mAP_medium", "mAP_large"]
    for name, value in zip(names, expected.stats, strict=False):
        assert 0.01 < value < 0.99
        assert scores.overall[name] == pytest.approx(value, abs=1e-6), name
    for size, name in enumerate(("AP", "AP_small", "AP_medium", "AP_large")):
        for label in range(3):
            precision = expected.eval["precision"][:, :, label, size, 2]
            assert scores.by_class[name][label] == pytest.approx(precision.mean(), abs=1e-6)
        assert scores.by_class[name][3] is None


def test_sizes_without_objects_are_left_out():
    target = Target(
        torch.tensor([[0.0, 0.0, 0.01, 0.01]]),
        torch.tensor([0]),
        torch.tensor([False]),
        torch.tensor([30.0]),
        SIZE,
    )
    scores = CocoScores(CLASSES)
    scores.update(
        torch.tensor([0]), [Prediction(target.boxes, torch.ones(1), target.labels)], [target]
    )
    found = scores.compute().overall
    assert found["mAP"] == found["mAP_small"] == pytest.approx(1)
    assert "mAP_large" not in found


@pytest.mark.parametrize("missing", ["objects", "detections", "all but crowds"])
def test_without_objects_or_detections_the_scores_are_zero(missing):
    prediction, target = scene(1)
    none = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long()
    if missing == "objects":
        target = Target(none[0], none[2], none[1].bool(), none[1], SIZE)
    elif missing == "detections":
        prediction = Prediction(*none)
    else:
        target = target._replace(crowd=torch.ones_like(target.crowd))
    scores = CocoScores(CLASSES)
    scores.update(torch.tensor([0]), [prediction], [target])
    assert scores.compute().overall["mAP"] == 0


def test_computing_resets_the_scores_and_prints_nothing(caplog, capfd):
    caplog.set_level("INFO")
    scores = CocoScores(CLASSES)
    prediction, target = scene(1)
    scores.update(torch.tensor([0]), [prediction], [target])
    assert scores.compute().overall["mAP"] > 0
    assert scores.compute().overall["mAP"] == 0
    assert not caplog.text
    assert not "".join(capfd.readouterr())


def _measure_in_process(rank, store, answers):
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    # 15 images for two processes: the sampler repeats the first image.
    indices = [0, 2, 4, 6, 8, 10, 12, 14] if rank == 0 else [1, 3, 5, 7, 9, 11, 13, 0]
    answers.put((rank, measured(indices)))
    distributed.destroy_process_group()


def test_two_processes_compute_the_scores_of_a_single_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    multiprocessing.spawn(_measure_in_process, (f"file://{tmp_path}/store", answers), nprocs=2)
    found = dict(answers.get() for _ in range(2))
    assert found[0] == found[1] == measured(range(15))
