# ~ if cookiecutter.scope == "complete"
"""Predict images and videos with a checkpoint; write annotated copies and a table."""

import glob
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Trainer
from PIL.Image import Image
# ~ else
"""Predict images with a checkpoint; write annotated copies and a table."""

import glob
import logging
# ~ if cookiecutter.task == "classification"
from collections.abc import Iterable, Mapping, Sequence
# ~ else
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
# ~ endif
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Trainer
# ~ endif
from rich.console import Console
# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
from rich.progress import track
from torch import Tensor

# ~ else
from rich.progress import track

# ~ endif
from .data.datamodule import DataModule, Datasets
from .data.files import SUFFIXES, UNSUPPORTED, files_below
# ~ if cookiecutter.task == "classification"
from .data.images import read_image
# ~ elif cookiecutter.scope == "complete"
from .data.images import UnreadableImageError, image_size, read_image
# ~ else
from .data.images import image_size, read_image
# ~ endif
# ~ if cookiecutter.scope == "complete"
from .data.videos import VIDEO_SUFFIXES, count_frames, frames_per_second, read_frames, write_video
from .errors import UsageError
from .evaluation.tta import AveragedNetwork
from .export.onnx_model import load_module
# ~ else
from .errors import UsageError
from .model import load_module
# ~ endif
from .run.files import replacing, write_csv, write_json
from .run.folder import Run
from .settings.tree import PredictSettings
from .task import (
    UNLABELLED,
    TaskModule,
    collate,
    describe,
    draw_prediction,
    # ~ if cookiecutter.scope == "complete"
    model_input,
    # ~ endif
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
from .training.loggers import open_trackers
from .training.trainer import build_trainer

log = logging.getLogger(__name__)

Rows = list[dict[str, object]]
# ~ if cookiecutter.task == "classification"
Predicted = tuple[Path, Any]  # an image and its prediction
# ~ else
Predicted = tuple[Path, Any, tuple[int, int]]  # an image, its prediction, its height and width
# ~ endif

MAX_NAME_BYTES = 160  # file systems allow 255 with prefix, suffix and temporary name


def run_prediction(settings: PredictSettings, run: Run) -> Rows:
    """Predict the files of ``settings.source``; write annotated copies and tables.

    Returns:
        The entries of ``predictions.json``, each with the path of an image and its prediction.

    Raises:
        UsageError: if there are no files, if a file is unreadable and ``data.skip_unreadable`` is
            false, or if the trainer uses several processes.
    """
    module = load_module(settings.checkpoint, settings)
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    side = settings.data.tiles
    if settings.tiles is None and side is not None:
        settings = settings.model_copy(update={"tiles": side})
        log.info("Tiles, as in the training: tiles=%d. For whole images: data.tiles=null", side)
    # ~ endif
    # ~ if cookiecutter.scope == "complete"
    if settings.tta != "none":
        changed: Any = module
        # ~ if cookiecutter.task == "classification"
        several = module.threshold is not None
        changed.network = AveragedNetwork(module.network, settings.tta, several=several)
        # ~ else
        changed.network = AveragedNetwork(module.network, settings.tta)
        # ~ endif
    # ~ endif
    names = output_names(find_sources(settings.source))
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
        rows += _predict_videos(names, module, trainer, settings, folder)
        # ~ endif
        if settings.save != "pictures":
            _write_tables(rows, folder)
    _print_summary(folder, len(names), unreadable)
    return rows


def find_sources(source: str) -> list[Path]:
    """Return the sorted paths of the files to predict.

    Args:
        source: a file, a folder (searched at any depth) or a glob.

    Raises:
        UsageError: if there is no such file with a known suffix.
    """
    path = Path(source)
    names: Iterable[str] = [source]
    if path.is_dir():
        names = files_below(path)
    elif not path.is_file():
        names = glob.iglob(source, recursive=True)  # noqa: PTH207 - the pattern may be absolute
    # ~ if cookiecutter.scope == "complete"
    suffixes = SUFFIXES | VIDEO_SUFFIXES
    # ~ else
    suffixes = SUFFIXES
    # ~ endif
    paths = sorted(Path(name) for name in names)
    unread = [path for path in paths if path.suffix.lower() in UNSUPPORTED - suffixes]
    if unread:
        log.warning(
            "Files of formats that are not supported are left out: %d. The first is %s.",
            len(unread),
            unread[0],
        )
    files = [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
    if not files:
        raise UsageError(
            f"source={source}: there is no file that can be predicted.\n"
            f"Name a file, a folder or a quoted glob. Known suffixes: {' '.join(sorted(suffixes))}"
        )
    return files


def output_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Map each path to the name of its output files, which is its file name without the suffix.

    The position of the path is added in front if the name would occur twice, ignoring case, or if
    it would denote a hidden file. Bytes that are not UTF-8 are left out, and long names are cut.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for position, path in enumerate(paths):
        name = path.stem.encode(errors="ignore")[:MAX_NAME_BYTES].decode(errors="ignore")
        while not name or name.startswith(".") or name.lower() in taken:
            name = f"{position:05d}_{name}"
        taken.add(name.lower())
        names[path] = name
    return names


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


# ~ if cookiecutter.scope == "complete"
def _predict_videos(
    names: Mapping[Path, str],
    module: TaskModule,
    trainer: Trainer,
    settings: PredictSettings,
    folder: Path,
) -> Rows:
    """Write ``predictions/<name>.mp4`` for each video; return an entry for each frame."""
    module.to(trainer.strategy.root_device).eval()
    rows: Rows = []
    for path, name in names.items():
        if path.suffix.lower() in VIDEO_SUFFIXES:
            if settings.data.channels != 3:
                raise UsageError(
                    f"{path} has 3 channels, but data.channels={settings.data.channels}.\n"
                    "Leave it out of source."
                )
            pictures = _annotated_frames(path, rows, module, trainer, settings)
            if settings.save == "tables":
                deque(pictures, maxlen=0)
                continue
            target = folder / "predictions" / f"{name}.mp4"
            write_video(target, pictures, rate=frames_per_second(path, settings.data.max_pixels))
    return rows


def _annotated_frames(
    path: Path, rows: Rows, module: TaskModule, trainer: Trainer, settings: PredictSettings
) -> Iterator[Image]:
    """Yield each frame with its prediction drawn, and append its entry to ``rows``."""
    limit = settings.data.max_pixels
    frames, total = enumerate(read_frames(path, limit)), count_frames(path, limit)
    progress = track(frames, description=path.name, total=total, transient=True)
    while batch := list(islice(progress, settings.loader.batch_size)):
        # ~ if cookiecutter.task == "classification"
        images = torch.stack([model_input(frame, settings.data) for _, frame in batch])
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            predictions = module.predict_images(images.to(module.device))
        # ~ else
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            predictions = _predict_frames([frame for _, frame in batch], module, settings)
        # ~ endif
        for (index, frame), prediction in zip(batch, predictions, strict=True):
            # ~ if cookiecutter.task == "detection"
            entry = describe(prediction, module.classes, (frame.shape[1], frame.shape[2]))
            # ~ else
            entry = describe(prediction, module.classes)
            # ~ endif
            rows.append({"image": f"{path}#{index}", **entry})
            yield draw_prediction(frame, UNLABELLED, prediction, module.classes)


# ~ if cookiecutter.task != "classification"
def _predict_frames(
    frames: Sequence[Tensor], module: TaskModule, settings: PredictSettings
) -> list[Any]:
    """Return the predictions of frames, uint8 [C, H, W] each, in the size of the frames."""
    if settings.tiles is not None:
        return [predict_tiles(module, frame, settings) for frame in frames]
    images = torch.stack([model_input(frame, settings.data) for frame in frames])
    predictions = module.predict_images(images.to(module.device))
    return [
        restored(prediction, (frame.shape[1], frame.shape[2]), settings.data)
        for frame, prediction in zip(frames, predictions, strict=True)
    ]


# ~ endif
# ~ endif
def _write_tables(rows: Rows, folder: Path) -> None:
    write_json(folder / "predictions.json", rows)
    # ~ if cookiecutter.task == "detection"
    rows = [cells for row in rows for cells in table_rows(row)]
    # ~ endif
    write_csv(folder / "predictions.csv", list(rows[0]), (row.values() for row in rows))


def _print_summary(folder: Path, files: int, unreadable: Sequence[str]) -> None:
    console = Console()
    console.print(f"Predictions of {files - len(unreadable)} files are written to:")
    for path in (folder / "predictions", folder / "predictions.csv"):
        if path.exists():
            console.print(f"  {path}", soft_wrap=True, markup=False)
    if unreadable:
        listed = ", ".join(unreadable[:5])
        console.print(f"{len(unreadable)} unreadable images are left out: {listed}", markup=False)
