# Other modules import these names from here:
# mypy: implicit-reexport
# ruff: noqa: F401
"""The interface of the task: the names through which shared code uses it.

The last section of ``docs/recipes.md`` lists the other files that depend on the task.

Data:

- ``build_datasets(settings.data) -> Datasets``: the training, validation and test sets.
- ``unlabelled_images(paths, settings.data)``: a data set of images to predict.
- ``collate(samples)``: a batch of the samples of a data set.
- ``model_input(image, settings.data)``: the model's input for a uint8 image [C, H, W].
- ``UNLABELLED``: the target of an image without annotation.

Model: ``TaskModule(settings, classes, download=True)``, a LightningModule with

- ``classes``, the names of the classes, and ``network``, which has ``normalisation``;
- ``predict_images(images)``: a prediction for each of the uint8 images [B, C, H, W];
- ``test_step``, which returns ``evaluation.score_counts.StepResults``;
- ``scores_by_class()``: the metrics of each class in the last test.

``METRICS`` are the scores that may decide which checkpoint is the best, ``MONITOR`` is the default.

Results:

# ~ if cookiecutter.task != "classification"
- ``restored(prediction, size, settings.data)``: the prediction of a model input, mapped back to the
  image file of that height and width.
- ``without_padding(prediction, image, target)``: the prediction of a model input without padding.
- ``save_results(predicted, classes, folder)``: writes further files of ``predict``.
# ~ endif
# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
- ``predict_tiles(module, image, settings)``: the prediction of a large uint8 image [C, H, W].
# ~ endif
- ``draw_prediction(image, target, prediction, classes)``: a picture.
# ~ if cookiecutter.scope == "complete"
- ``draw_target(image, target, classes)``: a picture of the annotation.
# ~ endif
# ~ if cookiecutter.scope == "complete" and cookiecutter.task == "segmentation"
- ``draw_frame(image, prediction, classes)``: the picture of a frame of a video.
# ~ endif
- ``caption(target, prediction, classes)``: a line of text.
# ~ if cookiecutter.task == "detection"
- ``describe(prediction, classes, size)``: an entry of ``predictions.json``; ``table_rows(entry)``:
  its rows in ``predictions.csv``.
# ~ else
- ``describe(prediction, classes)``: a row of ``predictions.csv`` and ``predictions.json``.
# ~ endif
# ~ if cookiecutter.scope == "complete"
- ``task_export``: the module ``export.py`` of the task: the network to export, its description.
# ~ endif
"""

# ~ if cookiecutter.task == "classification"
# ~ if cookiecutter.scope == "complete"
from .classification import export as task_export
# ~ endif
from .classification.dataset import (
    UNLABELLED,
    build_datasets,
    collate,
    model_input,
    unlabelled_images,
)
# ~ if cookiecutter.scope == "complete"
from .classification.draw import caption, describe, draw_prediction, draw_target
# ~ else
from .classification.draw import caption, describe, draw_prediction
# ~ endif
from .classification.module import ClassificationModule as TaskModule
# ~ elif cookiecutter.task == "detection"
# ~ if cookiecutter.scope == "complete"
from .detection import export as task_export
# ~ endif
from .detection.boxes import restored, without_padding
from .detection.coco import describe, save_results, table_rows
from .detection.dataset import UNLABELLED, build_datasets, collate, model_input, unlabelled_images
# ~ if cookiecutter.scope == "complete"
from .detection.draw import caption, draw_prediction, draw_target
# ~ else
from .detection.draw import caption, draw_prediction
# ~ endif
from .detection.module import DetectionModule as TaskModule
# ~ if cookiecutter.scope == "complete"
from .detection.tiles import predict_tiles
# ~ endif
# ~ elif cookiecutter.task == "segmentation"
# ~ if cookiecutter.scope == "complete"
from .segmentation import export as task_export
# ~ endif
from .segmentation.dataset import (
    UNLABELLED,
    build_datasets,
    collate,
    model_input,
    unlabelled_images,
)
# ~ if cookiecutter.scope == "complete"
from .segmentation.draw import caption, describe, draw_frame, draw_prediction, draw_target
# ~ else
from .segmentation.draw import caption, describe, draw_prediction
# ~ endif
from .segmentation.module import SegmentationModule as TaskModule
from .segmentation.predicted_masks import restored, save_results, without_padding
# ~ if cookiecutter.scope == "complete"
from .segmentation.tiles import predict_tiles
# ~ endif
# ~ endif
from .settings.schema import METRICS, MONITOR
