"""Read the files of a logged table, so that ``wandb-sync`` can log it again."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .client import package

TABLE = ".table.json"  # how the name of a table's file ends


def restored(files: Mapping[str, Path], folder: Path) -> Any:
    """Return the ``wandb.Table`` in the files of an artifact, given by their paths in it.

    ``folder`` must exist until the table is uploaded: its images are copied there.
    """
    wandb = package()
    for path, file in files.items():  # W&B takes the format of an image from its suffix
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / path)

    def read(path: str) -> Any:
        return json.loads((folder / path).read_text(encoding="utf-8"))

    def cell(value: Any) -> Any:
        if not isinstance(value, dict) or value.get("_type") != "image-file":
            return value
        classes = read(value["classes"]["path"])["class_set"] if "classes" in value else []
        # ~ if cookiecutter.task != "classification"
        labels = {item["id"]: item["name"] for item in classes}
        # ~ endif
        # ~ if cookiecutter.task == "detection"
        boxes = {
            key: {"box_data": drawn, "class_labels": labels}
            for key, drawn in value.get("boxes", {}).items()
        }
        # ~ elif cookiecutter.task == "segmentation"
        masks = {
            key: {"path": str(folder / mask["path"]), "class_labels": labels}
            for key, mask in value.get("masks", {}).items()
        }
        # ~ endif
        return wandb.Image(
            str(folder / value["path"]),
            caption=value.get("caption"),
            classes=wandb.Classes(classes) if classes else None,
            # ~ if cookiecutter.task == "detection"
            boxes=boxes or None,
            # ~ elif cookiecutter.task == "segmentation"
            masks=masks or None,
            # ~ endif
        )

    (content,) = (read(path) for path in files if path.endswith(TABLE))
    rows = [[cell(value) for value in row] for row in content["data"]]
    return wandb.Table(columns=content["columns"], data=rows)
