"""Predict images in memory, and collect the rows of the tables."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

# ~ if cookiecutter.task == "classification"
from ..classification.draw import describe
from ..classification.module import ClassificationModule as TaskModule
# ~ endif
from ..data.images import Unreadable
# ~ if cookiecutter.task == "detection"
from ..detection.coco import describe, table_rows
from ..detection.module import DetectionModule as TaskModule
# ~ if cookiecutter.scope == "complete"
from ..detection.predict_tiles import predict_tiles
# ~ endif
# ~ endif
from ..run.atomic_files import write_csv, write_json
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.draw import describe
from ..segmentation.module import SegmentationModule as TaskModule
# ~ if cookiecutter.scope == "complete"
from ..segmentation.predict_tiles import predict_tiles
# ~ endif
# ~ endif
from ..settings.schema import PredictSettings


@dataclass
class Predictor:
    """The module and the settings of a prediction, and the results of the files so far."""

    module: TaskModule
    trainer: Trainer  # its device and its precision are used
    settings: PredictSettings
    folder: Path  # of the results
    rows: list[dict[str, object]] = field(default_factory=list)  # the entries of the tables
    unreadable: list[Unreadable] = field(default_factory=list)  # are left out, or reported

    def __post_init__(self) -> None:
        self.trainer.precision_plugin.convert_module(self.module)
        self.module.to(self.trainer.strategy.root_device).eval()

    def predict(self, inputs: Tensor) -> list[Any]:
        """Return the predictions for model inputs, uint8 [B, C, H, W]."""
        with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
            return self.module.predict_images(inputs.to(self.module.device))

    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    def predict_tiles(self, image: Tensor) -> Any:
        """Return the prediction of an image of any size, uint8 [C, H, W], in tiles."""
        with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
            return predict_tiles(self.module, image, self.settings)

    # ~ endif
    # ~ if cookiecutter.task == "detection"
    def add(self, name: str, prediction: Any, size: tuple[int, int]) -> None:
        """Add an entry of the tables: of an image or a frame of this name, height and width."""
        entry = describe(prediction, self.module.classes, size)
        # ~ else
    def add(self, name: str, prediction: Any) -> None:
        """Add an entry of the tables: of an image or a frame of this name."""
        entry = describe(prediction, self.module.classes)
        # ~ endif
        self.rows.append({"image": name, **entry})

    def write_tables(self) -> None:
        """Write ``predictions.json`` and ``predictions.csv``, unless there is nothing to write."""
        rows = self.rows
        if not rows or self.settings.save == "pictures":
            return
        write_json(self.folder / "predictions.json", rows)
        # ~ if cookiecutter.task == "detection"
        rows = [cells for row in rows for cells in table_rows(row)]
        # ~ endif
        write_csv(self.folder / "predictions.csv", list(rows[0]), (row.values() for row in rows))
