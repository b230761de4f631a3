"""Draw the predictions of a fixed selection of validation images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from ...data.batches import evenly_spaced
from ...evaluation.drawing import contact_sheet
from ...run.atomic_files import replacing


class PredictedSample(NamedTuple):
    """A validation image with its target and its prediction."""

    image: Tensor  # uint8 [C, H, W]
    target: Any
    prediction: Any
    name: str = ""  # the name of the image file


class PredictionPictures(Callback):
    """Write a sheet of predictions to ``epoch_<n>.png`` every ``every_n_epochs`` epochs.

    Each function in ``sinks`` is called with the samples; other callbacks may append functions.
    """

    def __init__(
        self,
        folder: Path,
        draw: Callable[[Tensor, Any, Any, Sequence[str]], Image.Image],
        # ~ if cookiecutter.task != "classification"
        without_padding: Callable[[Any, Tensor, Any], Any],
        # ~ endif
        *,
        count: int,
        every_n_epochs: int,
    ) -> None:
        self.folder = folder
        self.draw = draw
        # ~ if cookiecutter.task != "classification"
        self.without_padding = without_padding
        # ~ endif
        self.count = count
        self.every_n_epochs = every_n_epochs
        self.sinks: list[Callable[[Trainer, Sequence[PredictedSample]], None]] = [self._write_sheet]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Predict the samples with the current, possibly averaged weights, and call the sinks."""
        epochs_since_due = (trainer.current_epoch + 1) % self.every_n_epochs
        # ~ if cookiecutter.scope == "complete"
        # An epoch in which a sheet is due may have no validation; the next validation draws it.
        if trainer.is_global_zero and epochs_since_due < (trainer.check_val_every_n_epoch or 1):
        # ~ else
        if trainer.is_global_zero and not epochs_since_due:
        # ~ endif
            shown = self.predict(trainer, pl_module)
            for sink in self.sinks if shown else []:
                sink(trainer, shown)

    def predict(self, trainer: Trainer, pl_module: LightningModule) -> list[PredictedSample]:
        """Return the samples with their predictions; the list is empty if none can be read."""
        dataset = cast("Any", trainer).datamodule.datasets.val
        samples = [*evenly_spaced(dataset, self.count)]
        if not samples:
            return []
        images = torch.stack([sample.image for sample in samples]).to(pl_module.device)
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            predictions = cast("Any", pl_module).predict_images(images)
        # ~ if cookiecutter.task != "classification"
        targets = [sample.target for sample in samples]
        predictions = map(self.without_padding, predictions, images.cpu(), targets)
        # ~ endif
        return [
            PredictedSample(
                sample.image, sample.target, prediction, Path(dataset.names[sample.position]).name
            )
            for sample, prediction in zip(samples, predictions, strict=True)
        ]

    def _write_sheet(self, trainer: Trainer, shown: Sequence[PredictedSample]) -> None:
        classes = cast("Any", trainer.lightning_module).classes
        tiles = [self.draw(*sample[:3], classes) for sample in shown]
        with replacing(self.folder / f"epoch_{trainer.current_epoch:03d}.png") as hidden:
            contact_sheet(tiles, [sample.name for sample in shown]).save(hidden)
