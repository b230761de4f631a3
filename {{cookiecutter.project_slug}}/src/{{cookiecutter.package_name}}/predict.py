# ~ if cookiecutter.scope == "complete"
"""Predict images and videos with a checkpoint; write annotated copies and a table."""

# ~ else
"""Predict images with a checkpoint; write annotated copies and a table."""

# ~ endif
# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
import logging
# ~ endif
# ~ if cookiecutter.task == "classification"
from collections.abc import Iterable, Mapping, Sequence
# ~ else
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
# ~ endif
from pathlib import Path
from typing import Any, cast

# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
import torch
# ~ endif
from lightning.pytorch import Trainer
from rich.console import Console
from rich.progress import track

from .data.datamodule import DataModule, Datasets
from .data.files import SUFFIXES
from .data.files_to_predict import find_sources, output_names
# ~ if cookiecutter.task == "classification"
from .data.images import read_image
# ~ elif cookiecutter.scope == "complete"
from .data.images import UnreadableImageError, image_size, read_image
# ~ else
from .data.images import image_size, read_image
# ~ endif
from .data.reading_summary import number_of
from .errors import UsageError
# ~ if cookiecutter.scope == "complete"
from .evaluation.tta import average_copies
from .export.onnx_model import load_module
from .predict_videos import check_videos, predict_videos
# ~ else
from .load_model import load_module
# ~ endif
from .run.files import replacing, write_csv, write_json
from .run.folder import Run
from .settings.schema import PredictSettings
from .task import (
    UNLABELLED,
    TaskModule,
    collate,
    describe,
    draw_prediction,
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    predict_tiles,
    # ~ endif
    # ~ if cookiecutter.task != "classification"
    restored,
    save_results,
    # ~ endif
    # ~ if cookiecutter.task == "detection"
    table_rows,
    # ~ endif
    unlabelled_images,
)
from .training.open_trackers import open_trackers
from .training.trainer import build_trainer

# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
log = logging.getLogger(__name__)

# ~ endif
Rows = list[dict[str, object]]
# ~ if cookiecutter.task == "classification"
Predicted = tuple[Path, Any]  # an image and its prediction


# ~ else
Predicted = tuple[Path, Any, tuple[int, int]]  # an image, its prediction, its height and width


# ~ endif
def run_prediction(settings: PredictSettings, run: Run) -> None:
    """Predict the files of ``settings.source``; write annotated copies and tables.

    Raises:
        UsageError: if there are no files, if a file is unreadable and ``data.skip_unreadable`` is
            false, if all are unreadable, or if the trainer uses several processes.
    """
    module = load_module(settings.checkpoint, settings)
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    side = settings.data.tiles
    if settings.tiles is None and side is not None:
        settings = settings.model_copy(update={"tiles": side})
        log.info("Tiles, as in the training run: tiles=%d. For whole images: data.tiles=null", side)
    # ~ endif
    # ~ if cookiecutter.scope == "complete"
    average_copies(module, settings.tta)
    # ~ endif
    names = output_names(find_sources(settings.source))
    # ~ if cookiecutter.scope == "complete"
    damaged = check_videos(names, settings)
    # ~ endif
    folder = settings.output or run.folder
    folder.mkdir(parents=True, exist_ok=True)
    with open_trackers(settings, run, job="predict") as (loggers, callbacks):
        trainer = build_trainer(settings, run, loggers=loggers, callbacks=callbacks)
        if trainer.world_size > 1:
            raise UsageError(
                "predict runs in one process: trainer.devices=1.\n"
                "To predict in parallel, start several processes, each with a different source."
            )
        rows, unreadable = _predict_images(names, module, trainer, settings, folder)
        # ~ if cookiecutter.scope == "complete"
        unreadable += damaged
        try:
            predict_videos(names, module, trainer, settings, folder, rows, unreadable)
        finally:  # also after a fault in the middle of a video
            if rows and settings.save != "pictures":
                _write_tables(rows, folder)
        # ~ else
        if rows and settings.save != "pictures":
            _write_tables(rows, folder)
        # ~ endif
        if not rows:
            raise UsageError(
                f"source={settings.source}: no file can be read. The first is {unreadable[0]}.\n"
                "Repair the files, or name others."
            )
    _print_summary(folder, len(names), unreadable)


def _predict_images(
    names: Mapping[Path, str],
    module: TaskModule,
    trainer: Trainer,
    settings: PredictSettings,
    folder: Path,
) -> tuple[Rows, list[str]]:
    """Predict and draw the images in ``names``; return their entries and the unreadable paths."""
    paths = [path for path in names if path.suffix.lower() in SUFFIXES]
    if not paths:
        return [], []
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    if settings.tiles is None:
        predicted, unreadable = _predict_whole(paths, module, trainer, settings)
    else:
        unreadable = set()
        predicted = _predict_tiles(paths, module, trainer, settings, unreadable)
    # ~ else
    predicted, unreadable = _predict_whole(paths, module, trainer, settings)
    # ~ endif
    # ~ if cookiecutter.task == "classification"
    rows: Rows = []
    for path, prediction in track(predicted, description="Writing", transient=True):
        rows.append({"image": str(path), **describe(prediction, module.classes)})
        if settings.save != "tables":
            _draw(path, names[path], prediction, module.classes, settings, folder)
    # ~ else
    rows: Rows = []

    def written() -> Iterator[tuple[Path, str, Any, tuple[int, int]]]:
        # A generator, since the predictions of all files might fill the memory.
        for path, prediction, size in predicted:
            # ~ if cookiecutter.task == "detection"
            rows.append({"image": str(path), **describe(prediction, module.classes, size)})
            # ~ else
            rows.append({"image": str(path), **describe(prediction, module.classes)})
            # ~ endif
            if settings.save != "tables":
                _draw(path, names[path], prediction, module.classes, settings, folder)
            yield path, names[path], prediction, size

    if settings.save != "pictures":
        save_results(written(), module.classes, folder)
    else:
        deque(written(), maxlen=0)
    # ~ endif
    return rows, sorted(unreadable)


def _predict_whole(
    paths: Sequence[Path], module: TaskModule, trainer: Trainer, settings: PredictSettings
) -> tuple[Iterable[Predicted], set[str]]:
    # ~ if cookiecutter.task == "classification"
    """Predict images; return their paths and predictions, and the paths of unreadable images."""
    # ~ else
    """Predict images, each as a whole.

    Returns:
        The path, the prediction and the height and width of each image, and the paths of the
        unreadable images.
    """
    # ~ endif
    images = unlabelled_images(paths, settings.data)
    datamodule = DataModule(
        Datasets(images, images, images, module.classes, collate),
        settings.loader,
        skip_unreadable=settings.data.skip_unreadable,
    )
    batches = cast("list[list[Any]]", trainer.predict(module, datamodule=datamodule))
    # ~ if cookiecutter.task == "classification"
    predicted = [
        (paths[position], prediction) for batch in batches for position, prediction in batch
    ]
    return predicted, datamodule.unreadable


    # ~ else
    found = [(paths[position], prediction) for batch in batches for position, prediction in batch]
    sized = (
        (path, prediction, image_size(path, settings.data.pixels))
        for path, prediction in track(found, description="Writing", transient=True)
    )
    return (
        (path, restored(prediction, size, settings.data), size) for path, prediction, size in sized
    ), datamodule.unreadable


# ~ endif
# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
def _predict_tiles(
    paths: Sequence[Path],
    module: TaskModule,
    trainer: Trainer,
    settings: PredictSettings,
    unreadable: set[str],
) -> Iterator[Predicted]:
    """Yield the path, the prediction and the size of each image, predicted in tiles."""
    module.to(trainer.strategy.root_device).eval()
    for path in track(paths, description="Predicting", transient=True):
        try:
            image = read_image(path, settings.data.pixels)
        except UnreadableImageError:
            if not settings.data.skip_unreadable:
                raise
            unreadable.add(str(path))
            continue
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            prediction = predict_tiles(module, image, settings)
        yield path, prediction, (image.shape[1], image.shape[2])


# ~ endif
def _draw(
    path: Path,
    name: str,
    prediction: Any,
    classes: Sequence[str],
    settings: PredictSettings,
    folder: Path,
) -> None:
    """Write ``predictions/<name>.jpg``, an image with its prediction."""
    image = read_image(path, settings.data.pixels)
    picture = draw_prediction(image, UNLABELLED, prediction, classes)
    with replacing(folder / "predictions" / f"{name}.jpg") as hidden:
        picture.save(hidden, quality=92)


def _write_tables(rows: Rows, folder: Path) -> None:
    write_json(folder / "predictions.json", rows)
    # ~ if cookiecutter.task == "detection"
    rows = [cells for row in rows for cells in table_rows(row)]
    # ~ endif
    write_csv(folder / "predictions.csv", list(rows[0]), (row.values() for row in rows))


def _print_summary(folder: Path, files: int, unreadable: Sequence[str]) -> None:
    console = Console(soft_wrap=True, markup=False)
    console.print(f"Predictions of {number_of(files - len(unreadable), 'files')}:")
    # ~ if cookiecutter.task == "segmentation"
    names = ("predictions", "masks", "predictions.csv")
    # ~ else
    names = ("predictions", "predictions.csv")
    # ~ endif
    for path in (folder / name for name in names):
        if path.exists():
            console.print(f"  {path}")
    if unreadable:
        listed = ", ".join(unreadable[:5])
        left_out = number_of(len(unreadable), "unreadable images")
        console.print(f"Left out: {left_out}, {listed}")
