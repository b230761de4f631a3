"""Run a checkpoint on images and videos: annotated copies and one table."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Trainer
from PIL.Image import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from .data.datamodule import DataModule, Datasets
from .data.images import find_sources, read_image
from .data.videos import SUFFIXES as VIDEO_SUFFIXES
from .data.videos import count_frames, frames_per_second, read_frames, write_video
from .errors import UsageError
from .run.files import write_json, write_text
from .run.folder import Run
from .settings.tree import PredictSettings
from .task import (
    UNLABELLED,
    TaskModule,
    as_seen,
    collate,
    describe,
    draw_prediction,
    # ~ if cookiecutter.task != "classification"
    save_results,
    # ~ endif
    unlabelled_images,
)
from .training.checkpoint import load_module
from .training.loggers import tracked
from .training.trainer import build_trainer

Rows = list[dict[str, object]]


def run_prediction(settings: PredictSettings, run: Run) -> Rows:
    """Predict the images and videos of ``settings.source``.

    Returns:
        The rows of the table: an image, or a frame of a video, and what it is taken for.

    Raises:
        UsageError: if there is none, or an unreadable one that is not to be skipped; or if there
            is more than one process.
    """
    module = load_module(settings.checkpoint, settings)
    names = _names(find_sources(settings.source))
    videos = [path for path in names if path.suffix.lower() in VIDEO_SUFFIXES]
    images = [path for path in names if path not in videos]
    rows: Rows = []
    unreadable: list[str] = []
    with tracked(settings, run, job="predict") as (loggers, callbacks):
        trainer = build_trainer(settings, run, loggers=loggers, callbacks=callbacks)
        if trainer.world_size > 1:
            raise UsageError(
                "predict runs in one process: trainer.devices=1.\n"
                "To share the work, start several, each with a source of its own."
            )
        if images:
            rows, unreadable = _predict_images(images, names, module, trainer, settings, run)
        for path in videos:
            rows += _predict_video(path, names[path], module, trainer, settings, run)
        if not rows:
            raise UsageError(f"source={settings.source}: nothing of it could be read.")
        _write_table(rows, run.folder / "predictions.csv")
        write_json(run.folder / "predictions.json", rows)
    _print_summary(run, len(images) - len(unreadable), len(videos), unreadable)
    return rows


def _predict_images(
    paths: Sequence[Path],
    names: dict[Path, str],
    module: TaskModule,
    trainer: Trainer,
    settings: PredictSettings,
    run: Run,
) -> tuple[Rows, list[str]]:
    images = unlabelled_images(paths, settings.data)
    datamodule = DataModule(
        Datasets(images, images, images, module.classes, collate),
        settings.loader,
        skip_unreadable=settings.data.skip_unreadable,
    )
    batches = cast("list[list[Any]]", trainer.predict(module, datamodule=datamodule))
    found = [(paths[position], one) for batch in batches for position, one in batch]
    rows: Rows = []
    for path, prediction in track(found, description="Drawing", transient=True):
        picture = draw_prediction(read_image(path), UNLABELLED, prediction, module.classes)
        picture.save(run.folder / "predictions" / f"{names[path]}.jpg", quality=92)
        rows.append({"image": str(path), **describe(prediction, module.classes)})
    # ~ if cookiecutter.task != "classification"
    save_results([(path, names[path], one) for path, one in found], module.classes, run.folder)
    # ~ endif
    return rows, sorted(datamodule.unreadable)


def _predict_video(
    path: Path,
    name: str,
    module: TaskModule,
    trainer: Trainer,
    settings: PredictSettings,
    run: Run,
) -> Rows:
    rows: Rows = []
    module.to(trainer.strategy.root_device)
    module.eval()

    def drawn(frames: Sequence[Tensor]) -> Iterator[Image]:
        seen = torch.stack([as_seen(frame, settings.data) for frame in frames])
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            predictions = module.predict_images(seen.to(module.device))
        for frame, prediction in zip(frames, predictions, strict=True):
            rows.append({"image": f"{path}#{len(rows)}", **describe(prediction, module.classes)})
            yield draw_prediction(frame, UNLABELLED, prediction, module.classes)

    frames = track(
        read_frames(path), description=path.name, total=count_frames(path), transient=True
    )
    batches = _batched(frames, settings.loader.batch_size)
    pictures = (picture for batch in batches for picture in drawn(batch))
    file = run.folder / "predictions" / f"{name}.mp4"
    write_video(file, pictures, rate=frames_per_second(path))
    return rows


def _batched(frames: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    batch: list[Tensor] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    stems = Counter(path.stem for path in paths)
    return {
        path: path.stem if stems[path.stem] == 1 else f"{index:05d}_{path.stem}"
        for index, path in enumerate(paths)
    }


def _write_table(rows: Rows, path: Path) -> None:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())


def _print_summary(run: Run, images: int, videos: int, unreadable: Sequence[str]) -> None:
    console = Console()
    console.print(f"{images} images and {videos} videos predicted.")
    if unreadable:
        console.print(
            f"{len(unreadable)} unreadable images were left out: {', '.join(unreadable[:5])}"
        )
    for path in (run.folder / "predictions", run.folder / "predictions.csv"):
        console.print(f"  {path}", soft_wrap=True, markup=False)
