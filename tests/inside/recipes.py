"""What the patches of docs/recipes.md change in a patched project, as JSON: run with its Python, on one of its runs."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from shape_sorter.inference.load_model import TaskModule, build_datasets, load_module
from shape_sorter.training.checkpoint import read_checkpoint

checkpoint = Path(sys.argv[1]) / "checkpoints" / "best.ckpt"
content = read_checkpoint(checkpoint)
module: Any = load_module(checkpoint)
classes = content["classes"]


def shape_of_first_convolution() -> list[int]:
    names = ("stages.0.0.weight", "stages_0.0.weight")  # of the whole network, or of its feature maps
    (weight,) = (value for key, value in content["state_dict"].items() if key.endswith(names))
    return list(weight.shape)


def colour_after_transform() -> list[int]:
    """The differences between the red and the green of a red image that occur after random changes."""
    transform: Any = build_datasets(module.settings.data).train.transform
    red = torch.tensor([200, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 64, 64)
    changed = [transform(red) if module_of == "classification" else transform(red, None)[0] for _ in range(40)]
    return sorted({int((image[0].int() - image[1].int()).abs().max()) for image in changed})


def monitored() -> tuple[str, float]:
    (state,) = (value for value in content["callbacks"].values() if value.get("monitor"))
    return state["monitor"], float(state["best_model_score"])


def data_as_read() -> dict[str, Any]:
    datasets = build_datasets(module.settings.data)
    sample = datasets.val[3]
    if module_of == "detection":
        target: Any = [sample.target.boxes.tolist(), sample.target.labels.tolist(), sample.target.areas.tolist()]
    elif module_of == "segmentation":
        target = [int((sample.target == index).sum()) for index in range(len(classes))]
    else:
        target = sample.target
    sizes = [len(split) for split in (datasets.train, datasets.val, datasets.test)]
    return {"classes": classes, "sizes": sizes, "target": target}


def metric_by_hand() -> float:
    """The new metric, of a case that can be computed in one's head."""
    if module_of == "classification":
        logits = torch.tensor([[9.0, 0.0]] * 4)  # three of the first class are right, one of the second is wrong
        module.val_metrics.update(logits, torch.tensor([0, 0, 0, 1]))
        return float(module.val_metrics.compute()["balanced"])
    if module_of == "detection":
        box = torch.tensor([[0.1, 0.1, 0.6, 0.6]])
        from shape_sorter.detection.boxes import Prediction, Target

        boxes, areas = torch.cat([box, box + 0.3]), torch.full((2,), 2500.0)
        target = Target(boxes, torch.tensor([0, 0]), torch.zeros(2).bool(), areas, (100, 100))
        module.scores.update(torch.tensor([0]), [Prediction(box, torch.ones(1), torch.tensor([0]))], [target])
        return float(module.scores.compute().overall["mAR"])
    logged: dict[str, Any] = {}
    module.log = lambda name, value, **_: logged.update({name: value})
    module.confusion.update(torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 1, 1]]]))
    module._log_scores("val")
    return float(logged["val/worst_IoU"])


def loss_by_hand() -> float:
    """The new loss, of a case that can be computed in one's head; that of boxes is in the columns of metrics.csv."""
    if module_of == "classification":
        from shape_sorter.classification.module import focal_loss

        return float(focal_loss(torch.tensor([[0.8, 0.2]]).log(), torch.tensor([0]), 2, smoothing=0))
    if module_of == "segmentation":
        predicted, target = torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 1, 1]]])
        logits = torch.nn.functional.one_hot(predicted, 2).permute(0, 3, 1, 2) * 200.0
        return float(module.loss(logits, target))
    return 0.0


module_of = TaskModule.__module__.split(".")[1]
print(
    json.dumps(
        {
            "convolution": shape_of_first_convolution(),
            "colour": colour_after_transform(),
            "monitored": monitored(),
            "data": data_as_read(),
            "metric": metric_by_hand(),
            "loss": loss_by_hand(),
        }
    )
)
