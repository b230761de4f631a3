"""A small COCO data set: a red rectangle on blue ground, in ten images a split."""

import json
from copy import deepcopy

from PIL import Image

WIDTH, HEIGHT = 48, 40
CATEGORIES = [{"id": 7, "name": "red"}, {"id": 90, "name": "green"}]  # ids need not follow


def place(index):
    """Left, top, right and bottom of the red rectangle in an image."""
    return 4 + index, 6, 24 + index, 22


def content_of(count=10):
    """The annotations of a split, as they stand in its file."""
    images, annotations = [], []
    for index in range(count):
        images.append(
            {"id": 100 + index, "file_name": f"{index}.jpg", "width": WIDTH, "height": HEIGHT}
        )
        left, top, right, bottom = place(index)
        annotations.append(
            {
                "id": 1000 + index,
                "image_id": 100 + index,
                "category_id": 7,
                # ~ if cookiecutter.task == "detection"
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                # ~ else
                "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                # ~ endif
                "iscrowd": 0,
            }
        )
    return {"images": images, "annotations": annotations, "categories": deepcopy(CATEGORIES)}


def write_images(folder, content):
    """Draw the images of a split."""
    for index, entry in enumerate(content["images"]):
        image = Image.new("RGB", (WIDTH, HEIGHT), (20, 40, 200))
        image.paste((200, 40, 20), place(index))
        image.save(folder / entry["file_name"], quality=95)


def write_unsplit(root, count=20):
    """Write ``result.json`` and ``images/``, as Label Studio does."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    content = content_of(count)
    write_images(root / "images", content)
    (root / "result.json").write_text(json.dumps(content))


def write_coco(root, changed=lambda split, content: None):
    """Write ``annotations/train.json`` and ``train/``; the same for val and test.

    Args:
        root: the folder to make.
        changed: called with a split and its content, to spoil it.
    """
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val", "test"):
        content = content_of()
        (root / split).mkdir()
        write_images(root / split, content)
        changed(split, content)
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content))
