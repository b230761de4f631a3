# ~ if cookiecutter.scope == "complete"
"""Predict images and videos with a checkpoint; write annotated copies and a table."""

# ~ else
"""Predict images with a checkpoint; write annotated copies and a table."""

# ~ endif
# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
import logging
# ~ endif
# ~ if cookiecutter.task == "classification"
from collections.abc import Iterator, Mapping, Sequence
# ~ else
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
# ~ endif
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

# ~ if cookiecutter.task == "classification"
from .classification.dataset import UNLABELLED, collate, unlabelled_images
from .classification.draw import draw_prediction
# ~ endif
from .data.check_images import report_unreadable
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
# ~ if cookiecutter.task == "detection"
from .detection.boxes import restored
from .detection.coco import save_results
from .detection.dataset import UNLABELLED, collate, unlabelled_images
from .detection.draw import draw_prediction
# ~ endif
from .errors import UsageError
# ~ if cookiecutter.scope == "complete"
from .evaluation.tta import apply_tta
from .export.onnx_model import load_module
from .inference.predict_videos import check_videos, predict_videos
from .inference.predictor import Predictor
# ~ else
from .inference.load_model import load_module
from .inference.predictor import Predictor
# ~ endif
from .run.atomic_files import replacing
from .run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from .segmentation.dataset import UNLABELLED, collate, unlabelled_images
from .segmentation.draw import draw_prediction
from .segmentation.predicted_masks import restored, save_results
# ~ endif
from .settings.schema import PredictSettings
from .training.open_trackers import open_trackers
# ~ if cookiecutter.task == "classification"
from .training.trainer import build_trainer


# ~ else
from .training.trainer import build_trainer

# ~ if cookiecutter.scope == "complete"
log = logging.getLogger(__name__)

# ~ endif
Predicted = tuple[Path, Any, tuple[int, int]]  # an image, its prediction, its height and width


# ~ endif
def run_prediction(settings: PredictSettings, run: Run) -> None:
    """Predict the files of ``settings.source``; write annotated copies and tables.

    Unreadable images are reported after the others, and what was predicted before an error is kept.
    """
    module = load_module(settings.checkpoint, settings)
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    side = settings.data.tiles
    if settings.tiles is None and side is not None:
        settings = settings.model_copy(update={"tiles": side})
        log.info("Tiles, as in the training run: tiles=%d. For whole images: data.tiles=null", side)
    # ~ endif
    # ~ if cookiecutter.scope == "complete"
    apply_tta(module, settings.tta)
    # ~ endif
    names = output_names(find_sources(settings.source))
    # ~ if cookiecutter.scope == "complete"
    damaged = check_videos(names, settings)
    # ~ endif
    with open_trackers(settings, run, job="predict") as (loggers, callbacks):
        trainer = build_trainer(settings, run, loggers=loggers, callbacks=callbacks)
        if trainer.world_size > 1:
            raise UsageError(
                "predict runs in one process: trainer.devices=1.\n"
                "To predict in parallel, start several processes, each with a different source."
            )
        predictor = Predictor(module, trainer, settings, settings.output or run.folder)
        try:
            _predict_images(predictor, names)
            if predictor.unreadable and not settings.data.skip_unreadable:
                report_unreadable(predictor.unreadable, skip_unreadable=False)
            # ~ if cookiecutter.scope == "complete"
            predictor.unreadable += damaged
            predict_videos(predictor, names)
            # ~ endif
        finally:
            predictor.write_tables()
        unreadable = [file.path for file in predictor.unreadable]
        if not predictor.rows:
            raise UsageError(
                f"source={settings.source}: no file can be read. The first is {unreadable[0]}.\n"
                "Repair the files, or name others."
            )
    _print_summary(predictor.folder, len(names), unreadable)


def _predict_images(predictor: Predictor, names: Mapping[Path, str]) -> None:
    """Predict and draw the images in ``names``, one after the other."""
    settings = predictor.settings
    paths = [path for path in names if path.suffix.lower() in SUFFIXES]
    # ~ if cookiecutter.task == "classification"
    for path, prediction in _predict_whole(predictor, paths):
        predictor.add(str(path), prediction)
        if settings.save != "tables":
            _draw(predictor, path, names[path], prediction)


    # ~ else
    # ~ if cookiecutter.scope == "complete"
    predict = _predict_whole if settings.tiles is None else _predict_tiles
    predicted = predict(predictor, paths)

    # ~ else
    predicted = _predict_whole(predictor, paths)

    # ~ endif
    def written() -> Iterator[tuple[Path, str, Any, tuple[int, int]]]:
        # ~ if cookiecutter.task == "segmentation"
        # A generator, since the masks of all files might not fit into memory.
        # ~ endif
        for path, prediction, size in predicted:
            # ~ if cookiecutter.task == "detection"
            predictor.add(str(path), prediction, size)
            # ~ else
            predictor.add(str(path), prediction)
            # ~ endif
            if settings.save != "tables":
                _draw(predictor, path, names[path], prediction)
            yield path, names[path], prediction, size

    if settings.save != "pictures":
        save_results(written(), predictor.module.classes, predictor.folder)
    else:
        deque(written(), maxlen=0)


    # ~ endif
# ~ if cookiecutter.task == "classification"
def _predict_whole(predictor: Predictor, paths: Sequence[Path]) -> Iterator[tuple[Path, Any]]:
    """Yield each readable image and its prediction."""
    # ~ else
def _predict_whole(predictor: Predictor, paths: Sequence[Path]) -> Iterator[Predicted]:
    """Yield each readable image with its prediction, which is made of the image as a whole."""
    # ~ endif
    settings = predictor.settings
    images = unlabelled_images(paths, settings.data)
    datasets = Datasets(images, images, images, predictor.module.classes, collate)
    loader = DataModule(datasets, settings.loader, skip_unreadable=True).test_dataloader()
    for batch in track(loader, "Predicting", transient=True) if paths else ():
        predictions = predictor.predict(batch.images) if len(batch.images) else []
        for position, prediction in zip(batch.positions.tolist(), predictions, strict=True):
            # ~ if cookiecutter.task == "classification"
            yield paths[position], prediction
            # ~ else
            size = image_size(paths[position], settings.data.pixels)
            yield paths[position], restored(prediction, size, settings.data), size
            # ~ endif
        predictor.unreadable += batch.unreadable


# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
def _predict_tiles(predictor: Predictor, paths: Sequence[Path]) -> Iterator[Predicted]:
    """Yield each readable image with its prediction, which is made in tiles."""
    data = predictor.settings.data
    for path in track(paths, "Predicting", transient=True):
        try:
            image = read_image(path, data.pixels)
        except UnreadableImageError as error:
            predictor.unreadable.append(error.unreadable)
            continue
        yield path, predictor.predict_tiles(image), (image.shape[1], image.shape[2])


# ~ endif
def _draw(predictor: Predictor, path: Path, name: str, prediction: Any) -> None:
    """Write ``predictions/<name>.jpg``, an image with its prediction."""
    image = read_image(path, predictor.settings.data.pixels)
    picture = draw_prediction(image, UNLABELLED, prediction, predictor.module.classes)
    with replacing(predictor.folder / "predictions" / f"{name}.jpg") as hidden:
        picture.save(hidden, quality=92)


def _print_summary(folder: Path, files: int, unreadable: Sequence[str]) -> None:
    console = Console(soft_wrap=True, markup=False)
    console.print(f"Predictions of {number_of(files - len(unreadable), 'files')}:")
    names = ["predictions", "predictions.csv", "predictions.json"]
    # ~ if cookiecutter.task == "segmentation"
    names.append("masks")
    # ~ elif cookiecutter.task == "detection"
    names += ["coco_results.json", "coco_images.json"]
    # ~ endif
    for name in names:
        if (folder / name).exists():
            console.print(f"  {folder / name}")
    if unreadable:
        left_out = number_of(len(unreadable), "unreadable images")
        console.print(f"Left out: {left_out}, {', '.join(unreadable[:5])}")
