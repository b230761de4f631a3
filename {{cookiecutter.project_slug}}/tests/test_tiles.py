import json
from types import SimpleNamespace

# ~ if cookiecutter.task == "detection"
import pytest
# ~ endif
import torch

from {{ cookiecutter.package_name }}.data.tiles import tiles_of
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.boxes import (
    Prediction,
)
from {{ cookiecutter.package_name }}.detection.tiles import (
    merge,
    predict_tiles,
)
# ~ else
from {{ cookiecutter.package_name }}.segmentation.tiles import (
    predict_tiles,
)
# ~ endif
from {{ cookiecutter.package_name }}.settings.data import (
    ShapesSettings,
)

from small import OWN, data_preset


def settings(tiles=64):
    preset = data_preset("shapes") | {"root": "unused", "image_size": 64, "fit": "letterbox"}
    data = ShapesSettings.model_validate(preset)
    return SimpleNamespace(tiles=tiles, data=data, loader=SimpleNamespace(batch_size=3))


def test_tiles_overlap_by_a_quarter_and_cover_the_image():
    tiles = tiles_of((100, 250), 100)
    assert [tile.left for tile in tiles] == [0, 75, 150]
    tiles = tiles_of((230, 170), 64)
    covered = torch.zeros(230, 170)
    for tile in tiles:
        assert (tile.height, tile.width) == (64, 64)
        covered[tile.rows, tile.columns] += 1
    assert covered.min() == 1
    assert tiles_of((30, 40), 64) == [(0, 0, 30, 40)]


def test_an_image_smaller_than_a_tile_is_predicted_as_without_tiles(train, command, own_data):
    run = train(OWN, f"data.root={own_data}")
    words = (f"checkpoint={run}/checkpoints/best.ckpt", f"source={own_data}", "trainer=cpu")
    # ~ if cookiecutter.task == "detection"
    words += ("model.score_threshold=0.05",)
    # ~ endif
    whole, tiled = (command("predict", *words, *extra) for extra in ([], ["tiles=640"]))
    rows = json.loads((whole / "predictions.json").read_text())
    same = json.loads((tiled / "predictions.json").read_text())
    # ~ if cookiecutter.task == "detection"
    objects, others = ([found for row in part for found in row["objects"]] for part in (rows, same))
    assert objects
    for found, other in zip(objects, others, strict=True):
        assert found["label"] == other["label"]
        assert found["box"] == pytest.approx(other["box"], abs=0.05)
        assert found["score"] == pytest.approx(other["score"], abs=1e-4)


    # ~ else
    assert same == rows
    for path in (whole / "masks").iterdir():
        assert path.read_bytes() == (tiled / "masks" / path.name).read_bytes()


    # ~ endif
# ~ if cookiecutter.task == "detection"
class FindsValues:
    """Finds an object around the pixels of each value other than 0; its label is the value."""

    device = torch.device("cpu")

    def predict_images(self, images):
        assert len(images) <= 3
        return [self.objects(image[0]) for image in images]

    def objects(self, image):
        labels = [value for value in image.unique().tolist() if value and value != 128]
        boxes = []
        for value in labels:
            rows, columns = (image == value).nonzero().T
            ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            boxes.append([float(end) / 64 for end in ends])
        scores = torch.linspace(0.9, 0.8, len(labels))
        return Prediction(torch.tensor(boxes).reshape(-1, 4), scores, torch.tensor(labels))


def test_objects_across_borders_of_tiles_are_found_once_and_in_place():
    image = torch.zeros(3, 150, 200, dtype=torch.uint8)
    planted = {
        1: (5, 6, 20, 30),  # within a tile: left, top, right, bottom
        2: (50, 70, 75, 90),  # in the overlap of two tiles, but larger
        3: (10, 100, 190, 120),  # in each tile of a row
        4: (100, 20, 112, 140),  # in each tile of a column
        5: (170, 5, 200, 18),  # at the border of the image
    }
    for value, (left, top, right, bottom) in planted.items():
        image[:, top:bottom, left:right] = value
    found = predict_tiles(FindsValues(), image, settings())
    boxes = found.boxes * torch.tensor([200, 150, 200, 150])
    located = {
        label: tuple(box)
        for label, box in zip(found.labels.tolist(), boxes.round().int().tolist(), strict=True)
    }
    assert len(found.labels) == len(planted)
    assert located == planted
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_a_whole_box_replaces_the_parts_of_its_object_but_not_its_neighbours():
    tiles = tiles_of((100, 175), 100)  # from 0 to 100, and from 75 to 175
    whole, part = [0.5, 0.1, 0.97, 0.5], [0.0, 0.1, 0.24, 0.48]  # the same object
    neighbour = [0.5, 0.6, 0.97, 0.9]
    first = Prediction(torch.tensor([whole, neighbour]), torch.tensor([0.6, 0.5]), torch.zeros(2))
    second = Prediction(torch.tensor([part]), torch.tensor([0.9]), torch.zeros(1))
    merged = merge([first, second], tiles, (100, 175))
    expected = torch.tensor([whole, neighbour]) * torch.tensor([100 / 175, 1, 100 / 175, 1])
    torch.testing.assert_close(merged.boxes, expected)
    torch.testing.assert_close(merged.scores, torch.tensor([0.9, 0.5]))
# ~ else
class Answers(torch.nn.Module):
    """Gives the class of each pixel with the certainty that stands in the next channel."""

    device = torch.device("cpu")
    classes = ("one", "two", "three")

    def forward(self, images):
        assert len(images) <= 3
        ids, certain = images[:, 0].long().clamp(max=2), images[:, 1:2] / 100
        wanted = torch.nn.functional.one_hot(ids, 3).movedim(3, 1)
        return (wanted * certain + (1 - wanted) * (1 - certain) / 2).log()


def test_the_classes_of_marked_pixels_come_out_at_their_place():
    ids = torch.randint(0, 3, (150, 200), generator=torch.Generator().manual_seed(0))
    image = torch.stack([ids, torch.full_like(ids, 90), ids]).to(torch.uint8)
    assert predict_tiles(Answers(), image, settings()).mask.equal(ids.to(torch.uint8))


def test_probabilities_are_averaged_where_tiles_overlap():
    class ByTile(Answers):
        def forward(self, images):
            images = images.clone()
            first = images[:, 2, :1, :1] == 1  # the tile whose first pixel is marked
            images[:, 0], images[:, 1] = torch.where(first, 0, 1), torch.where(first, 60, 90)
            return super().forward(images)

    image = torch.zeros(3, 64, 112, dtype=torch.uint8)
    image[2, 0, 0] = 1
    mask = predict_tiles(ByTile(), image, settings()).mask  # tiles from 0 to 64 and 48 to 112
    assert mask[:, :48].eq(0).all()
    assert mask[:, 48:].eq(1).all()
# ~ endif
