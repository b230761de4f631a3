# ~ if cookiecutter.scope == "complete"
"""Predict images and videos with a checkpoint; write annotated copies and a table."""

import glob
import logging
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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Trainer
# ~ endif
from rich.console import Console
from rich.progress import track

from .data.datamodule import DataModule, Datasets
from .data.files import SUFFIXES, UNSUPPORTED, files_below
from .data.images import read_image
# ~ if cookiecutter.scope == "complete"
from .data.videos import VIDEO_SUFFIXES, count_frames, frames_per_second, read_frames, write_video
from .errors import UsageError
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
    # ~ if cookiecutter.task != "classification"
    restored,
    save_results,
    # ~ endif
    unlabelled_images,
)
from .training.loggers import open_trackers
from .training.trainer import build_trainer

log = logging.getLogger(__name__)

Rows = list[dict[str, object]]

MAX_NAME_BYTES = 160  # file systems allow 255 with the suffix and with what is added in front


def run_prediction(settings: PredictSettings, run: Run) -> Rows:
    """Predict the files of ``settings.source``; write annotated copies and a table.

    Returns:
        The rows of the table, each with the path of an image and its prediction.

    Raises:
        UsageError: if there are no files, if a file is unreadable and ``data.skip_unreadable`` is
            false, or if the trainer uses several processes.
    """
    module = load_module(settings.checkpoint, settings)
    names = output_names(find_sources(settings.source))
    with open_trackers(settings, run, job="predict") as (loggers, callbacks):
        trainer = build_trainer(settings, run, loggers=loggers, callbacks=callbacks)
        if trainer.world_size > 1:
            raise UsageError(
                "predict runs in one process: trainer.devices=1.\n"
                "To predict in parallel, start several processes, each with a different source."
            )
        rows, unreadable = _predict_images(names, module, trainer, settings, run)
        # ~ if cookiecutter.scope == "complete"
        rows += _predict_videos(names, module, trainer, settings, run)
        # ~ endif
        columns = list(rows[0])
        cells = ([row[name] for name in columns] for row in rows)
        write_csv(run.folder / "predictions.csv", columns, cells)
        write_json(run.folder / "predictions.json", rows)
    _print_summary(run, len(names), unreadable)
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
            "%d files are left out, since their format is not read. The first is %s.",
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
    it would denote a hidden file. Bytes that are no UTF-8 are left out, and long names are cut.
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
    run: Run,
) -> tuple[Rows, list[str]]:
    """Predict and draw the images in ``names``; return table rows and the unreadable paths."""
    paths = [path for path in names if path.suffix.lower() in SUFFIXES]
    if not paths:
        return [], []
    images = unlabelled_images(paths, settings.data)
    datamodule = DataModule(
        Datasets(images, images, images, module.classes, collate),
        settings.loader,
        skip_unreadable=settings.data.skip_unreadable,
    )
    batches = cast("list[list[Any]]", trainer.predict(module, datamodule=datamodule))
    predicted = [
        (paths[position], prediction) for batch in batches for position, prediction in batch
    ]
    rows: Rows = []
    # ~ if cookiecutter.task != "classification"
    results = []
    # ~ endif
    for path, prediction in track(predicted, description="Drawing", transient=True):
        image = read_image(path, settings.data.pixels)
        # ~ if cookiecutter.task != "classification"
        size = (image.shape[1], image.shape[2])
        results.append((path, names[path], prediction, size))
        prediction = restored(prediction, size, settings.data)  # noqa: PLW2901
        # ~ endif
        picture = draw_prediction(image, UNLABELLED, prediction, module.classes)
        with replacing(run.folder / "predictions" / f"{names[path]}.jpg") as hidden:
            picture.save(hidden, quality=92)
        rows.append({"image": str(path), **describe(prediction, module.classes)})
    # ~ if cookiecutter.task != "classification"
    in_files = (  # a generator, since all of them might fill the memory
        (path, name, restored(prediction, size, settings.data), size)
        for path, name, prediction, size in results
    )
    save_results(in_files, module.classes, run.folder)
    # ~ endif
    return rows, sorted(datamodule.unreadable)


# ~ if cookiecutter.scope == "complete"
def _predict_videos(
    names: Mapping[Path, str],
    module: TaskModule,
    trainer: Trainer,
    settings: PredictSettings,
    run: Run,
) -> Rows:
    """Write ``predictions/<name>.mp4`` for each video in ``names``; return a row for each frame."""
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
            target = run.folder / "predictions" / f"{name}.mp4"
            write_video(target, pictures, rate=frames_per_second(path, settings.data.max_pixels))
    return rows


def _annotated_frames(
    path: Path, rows: Rows, module: TaskModule, trainer: Trainer, settings: PredictSettings
) -> Iterator[Image]:
    """Yield each frame with its prediction drawn, and append its table row to ``rows``."""
    limit = settings.data.max_pixels
    frames, total = enumerate(read_frames(path, limit)), count_frames(path, limit)
    progress = track(frames, description=path.name, total=total, transient=True)
    while batch := list(islice(progress, settings.loader.batch_size)):
        images = torch.stack([model_input(frame, settings.data) for _, frame in batch])
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            predictions = module.predict_images(images.to(module.device))
        for (index, frame), prediction in zip(batch, predictions, strict=True):
            # ~ if cookiecutter.task != "classification"
            prediction = restored(prediction, (frame.shape[1], frame.shape[2]), settings.data)  # noqa: PLW2901
            # ~ endif
            rows.append({"image": f"{path}#{index}", **describe(prediction, module.classes)})
            yield draw_prediction(frame, UNLABELLED, prediction, module.classes)


# ~ endif
def _print_summary(run: Run, files: int, unreadable: Sequence[str]) -> None:
    console = Console()
    console.print(f"Predictions of {files - len(unreadable)} files are written to:")
    for path in (run.folder / "predictions", run.folder / "predictions.csv"):
        console.print(f"  {path}", soft_wrap=True, markup=False)
    if unreadable:
        listed = ", ".join(unreadable[:5])
        console.print(f"{len(unreadable)} unreadable images are left out: {listed}", markup=False)
