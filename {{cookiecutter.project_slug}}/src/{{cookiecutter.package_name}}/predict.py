"""Run a checkpoint on images: annotated copies and one table."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.progress import track

from .checkpoint import load_module
from .data.datamodule import DataModule, Datasets
from .data.images import find_images, read_image
from .run import Run, write_json, write_text
# ~ if cookiecutter.task == "segmentation"
from .segmentation.masks import save_mask
# ~ endif
from .settings import PredictSettings
from .task import UNLABELLED, collate, describe, draw_prediction, unlabelled_images
from .tracker import tracked
from .trainer import build_trainer


def run_prediction(settings: PredictSettings, run: Run) -> list[dict[str, object]]:
    """Predict the images of ``settings.source``.

    Returns:
        The rows of the table: an image and what it is taken for.

    Raises:
        UsageError: if there is no image, or an unreadable one that is not to be skipped.
    """
    module = load_module(settings.checkpoint)
    paths = find_images(settings.source)
    images = unlabelled_images(paths, settings.data)
    datamodule = DataModule(
        Datasets(images, images, images, module.classes, collate),
        settings.loader,
        skip_unreadable=settings.data.skip_unreadable,
    )
    with tracked(settings, run, job="predict") as (loggers, callbacks):
        trainer = build_trainer(settings, run, loggers=loggers, callbacks=callbacks)
        batches = cast("list[list[Any]]", trainer.predict(module, datamodule=datamodule))
    found = [one for batch in batches for one in batch]
    names = _names(paths)
    rows: list[dict[str, object]] = []
    for position, prediction in track(found, description="Drawing", transient=True):
        image, name = read_image(paths[position]), names[position]
        picture = draw_prediction(image, UNLABELLED, prediction, module.classes)
        picture.save(run.folder / "predictions" / f"{name}.jpg", quality=92)
        # ~ if cookiecutter.task == "segmentation"
        save_mask(prediction.mask, image, run.folder / "masks" / f"{name}.png")
        # ~ endif
        rows.append({"image": str(paths[position]), **describe(prediction, module.classes)})
    _write_table(rows, run.folder / "predictions.csv")
    write_json(run.folder / "predictions.json", rows)
    _print_summary(run, len(rows), sorted(datamodule.unreadable))
    return rows


def _names(paths: Sequence[Path]) -> list[str]:
    stems = Counter(path.stem for path in paths)
    return [
        path.stem if stems[path.stem] == 1 else f"{index:05d}_{path.stem}"
        for index, path in enumerate(paths)
    ]


def _write_table(rows: Sequence[dict[str, object]], path: Path) -> None:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())


def _print_summary(run: Run, count: int, unreadable: Sequence[str]) -> None:
    console = Console()
    console.print(f"{count} images predicted.")
    if unreadable:
        console.print(
            f"{len(unreadable)} unreadable images were left out: {', '.join(unreadable[:5])}"
        )
    for path in (run.folder / "predictions", run.folder / "predictions.csv"):
        console.print(f"  {path}", soft_wrap=True, markup=False)
