"""Run a checkpoint on images: annotated copies and one table."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.progress import track
from torch import Tensor

from .classification.dataset import UNLABELLED, ImageDataset, collate
from .classification.draw import draw_prediction
from .classification.module import Prediction, load_module
from .classification.transforms import eval_transform
from .data.datamodule import DataModule, Datasets
from .data.images import find_images, read_image
from .run import Run, write_json, write_text
from .settings import PredictSettings
from .tracker import tracked
from .trainer import build_trainer

Labelled = tuple[Tensor, Prediction]  # positions [B] and what the network says


def run_prediction(settings: PredictSettings, run: Run) -> list[dict[str, object]]:
    """Label the images of ``settings.source``.

    Returns:
        The rows of the table: image, label, confidence.

    Raises:
        UsageError: if there is no image, or an unreadable one that is not to be skipped.
    """
    module = load_module(settings.checkpoint)
    paths = find_images(settings.source)
    dataset = ImageDataset(
        paths, [UNLABELLED] * len(paths), eval_transform(settings.data.image_size)
    )
    datasets = Datasets(dataset, dataset, dataset, module.classes, collate)
    datamodule = DataModule(
        datasets, settings.loader, skip_unreadable=settings.data.skip_unreadable
    )
    with tracked(settings, run, job="predict") as (loggers, callbacks):
        trainer = build_trainer(settings, run, loggers=loggers, callbacks=callbacks)
        batches = cast("list[Labelled]", trainer.predict(module, datamodule=datamodule))
    names = _names(paths)
    rows: list[dict[str, object]] = []
    for index, prediction in track(_single(batches), description="Drawing", transient=True):
        picture = draw_prediction(read_image(paths[index]), UNLABELLED, prediction, module.classes)
        picture.save(run.folder / "predictions" / names[index], quality=92)
        label = module.classes[int(prediction.labels)]
        confidence = round(float(prediction.confidences), 6)
        rows.append({"image": str(paths[index]), "label": label, "confidence": confidence})
    _write_table(rows, run.folder / "predictions.csv")
    write_json(run.folder / "predictions.json", rows)
    _print_summary(run, len(rows), sorted(datamodule.unreadable))
    return rows


def _single(batches: Sequence[Labelled]) -> list[tuple[int, Prediction]]:
    return [
        (int(position), Prediction(label, confidence))
        for positions, predictions in batches
        for position, label, confidence in zip(positions, *predictions, strict=True)
    ]


def _names(paths: Sequence[Path]) -> list[str]:
    stems = Counter(path.stem for path in paths)
    return [
        f"{path.stem}.jpg" if stems[path.stem] == 1 else f"{index:05d}_{path.stem}.jpg"
        for index, path in enumerate(paths)
    ]


def _write_table(rows: Sequence[dict[str, object]], path: Path) -> None:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, fieldnames=["image", "label", "confidence"])
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())


def _print_summary(run: Run, count: int, unreadable: Sequence[str]) -> None:
    console = Console()
    console.print(f"{count} images labelled.")
    if unreadable:
        console.print(
            f"{len(unreadable)} unreadable images were left out: {', '.join(unreadable[:5])}"
        )
    for path in (run.folder / "predictions", run.folder / "predictions.csv"):
        console.print(f"  {path}", soft_wrap=True, markup=False)
