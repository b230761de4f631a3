import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

# ~ if cookiecutter.task == "segmentation"
import numpy as np
# ~ endif
import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.data import images
from {{ cookiecutter.package_name }}.data.cache import cache_images
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.data.tiles import (
    Tile,
    tiles_of,
)
from {{ cookiecutter.package_name }}.detection.boxes import (
    AnnotatedImage,
    AnnotatedObject,
    Prediction,
)
from {{ cookiecutter.package_name }}.detection.cut_tiles import (
    cut,
)
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
from {{ cookiecutter.package_name }}.detection.predict_tiles import (
    merge,
    predict_tiles,
)
# ~ else
from {{ cookiecutter.package_name }}.data.tiles import tiles_of
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.segmentation.predict_tiles import (
    predict_tiles,
)
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.data import (
    ShapesSettings,
)
from {{ cookiecutter.package_name }}.settings.schema import Settings

from small import OWN, SMALL, composed, data_preset


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


def test_parts_that_end_near_the_border_of_their_tiles_become_one_box():
    tiles = [Tile(427, 0, 640, 640), Tile(853, 0, 640, 640)]  # to 1067, and from 853
    boxes = [[197, 844, 534, 1064], [190, 862, 540, 1225]]  # an object from 833 to 1227
    parts = [
        Prediction((torch.tensor([box]) - shift) / 640, torch.tensor([score]), torch.zeros(1))
        for box, score, shift in zip(
            boxes, (0.9, 0.8), torch.tensor([[0, 427] * 2, [0, 853] * 2]), strict=True
        )
    ]
    merged = merge(parts, tiles, (1920, 640))
    expected = torch.tensor([[190, 844, 540, 1225]]) / torch.tensor([640, 1920] * 2)
    torch.testing.assert_close(merged.boxes, expected)


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


@pytest.mark.parametrize(("one", "other", "border"), [(60, 90, 48), (90, 60, 64)])
def test_probabilities_are_averaged_where_tiles_overlap(one, other, border):
    class ByTile(Answers):
        def forward(self, images):
            images = images.clone()
            first = images[:, 2, :1, :1] == 1  # the tile whose first pixel is marked
            images[:, 0], images[:, 1] = torch.where(first, 0, 1), torch.where(first, one, other)
            return super().forward(images)

    image = torch.zeros(3, 64, 112, dtype=torch.uint8)
    image[2, 0, 0] = 1
    mask = predict_tiles(ByTile(), image, settings()).mask  # tiles from 0 to 64 and 48 to 112
    assert mask[:, :border].eq(0).all()
    assert mask[:, border:].eq(1).all()


# ~ endif
TILED = (*SMALL, OWN, "data.root=large", "data.image_size=96", "data.tiles=96", "augment=none")
LEFTS = [0, 52, 104]  # of the tiles of an image of 200 x 96 pixels


# ~ if cookiecutter.task == "detection"
PLANTED = {  # left, top, right, bottom of the objects in the second image, by their grey
    50: (3, 5, 20, 30),  # in the first tile only
    100: (70, 40, 90, 60),  # in the first and the second tile
    150: (100, 10, 190, 30),  # a part in the second tile is left out, the third shows most
}
CROWD = (144, 70, 164, 90)  # a fifth of it is in the second tile


def write_large(folder):
    """Write three splits of a small image and one of 200 x 96 pixels, with a crowd."""
    (folder / "annotations").mkdir(parents=True)
    entries = [{"id": 1, "file_name": "a.png", "width": 60, "height": 50}]
    entries.append({"id": 2, "file_name": "b.png", "width": 200, "height": 96})
    boxes = [(1, (10, 10, 30, 30), 0)]
    boxes += [(2, box, 0) for box in PLANTED.values()] + [(2, CROWD, 1)]
    annotations = [
        {"id": number, "image_id": image, "category_id": 1, "iscrowd": crowd}
        | {"bbox": [left, top, right - left, bottom - top]}
        for number, (image, (left, top, right, bottom), crowd) in enumerate(boxes, start=1)
    ]
    content = {"images": entries, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "thing"}]
    for split in ("train", "val", "test"):
        (folder / split).mkdir()
        Image.new("RGB", (60, 50)).save(folder / split / "a.png")
        image = Image.new("RGB", (200, 96))
        for grey, box in PLANTED.items():
            image.paste((grey,) * 3, box)
        image.save(folder / split / "b.png")
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(content))


def test_the_boxes_of_a_tile_are_those_of_its_pixels(workplace):
    write_large(workplace / "large")
    data = build_datasets(check(composed(*TILED), Settings).data)
    for dataset in (data.train, data.val, data.test):
        samples = [dataset[index] for index in range(len(dataset))]
        assert len(samples) == 4  # the small image is a tile of its own
        greys = []
        for sample in samples[1:]:
            target = sample.target
            boxes = (target.boxes * 96).round().int()
            shown = []
            for box in boxes[~target.crowd].tolist():
                left, top, right, bottom = box
                (grey,) = sample.image[0, top:bottom, left:right].unique().tolist()
                rows, columns = (sample.image[0] == grey).nonzero().T
                assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box
                shown.append(grey)
            greys.append(shown)
        # 48 of the 90 columns of the widest object are in the second tile, 86 in the third.
        assert greys == [[50, 100], [100, 150], [150]]
    crowds = [sample.target.crowd.tolist() for sample in samples[1:]]
    assert crowds == [[False, False], [False, False, True], [False, True]]
    areas = samples[2].target.areas.tolist()
    assert areas == pytest.approx([20 * 20, 48 * 20, 4 * 20])


def test_an_object_of_which_a_tile_shows_little_is_left_out(workplace, monkeypatch):
    monkeypatch.setitem(PLANTED, 150, (130, 10, 190, 30))  # 18 of 60 columns in the second tile
    monkeypatch.setitem(PLANTED, 100, (79, 40, 99, 60))  # 17 of 20 columns in the first tile
    write_large(workplace / "large")
    data = build_datasets(check(composed(*TILED), Settings).data)
    assert [len(data.val[index].target.labels) for index in (1, 2, 3)] == [2, 3, 2]
    monkeypatch.setitem(PLANTED, 150, (131, 10, 191, 30))  # 17 of 60
    write_large(workplace / "other")
    settings = check(composed(*TILED, "data.root=other"), Settings)
    data = build_datasets(settings.data)
    assert [len(data.val[index].target.labels) for index in (1, 2, 3)] == [2, 2, 2]


def test_an_object_larger_than_a_tile_is_in_the_tiles_that_it_fills():
    box = (0.3, 0.3, 0.9, 0.9)
    image = AnnotatedImage(Path("a.jpg"), [AnnotatedObject(box, 0, 0.36)], (1000, 1000))
    filled = cut(image, Tile(400, 400, 100, 100), (1000, 1000))
    assert [item.box for item in filled.objects] == [[0, 0, 1, 1]]
    assert not cut(image, Tile(230, 230, 100, 100), (1000, 1000)).objects  # 30 x 30 pixels of it


# ~ else
def write_large(folder):
    """Write three splits of a small image and one of 200 x 96 pixels, whose grey is its mask."""
    numbers = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name, shape in {"a": (50, 60), "b": (96, 200)}.items():
            mask = numbers.integers(0, 2, shape, dtype=np.uint8)
            for kind, values in {"images": mask * 200, "masks": mask}.items():
                (folder / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(folder / kind / split / f"{name}.png")
    (folder / "classes.txt").write_text("dark\nbright\n")


def test_the_mask_of_a_tile_is_that_of_its_pixels(workplace):
    write_large(workplace / "large")
    data = build_datasets(check(composed(*TILED), Settings).data)
    for split in ("train", "val", "test"):
        dataset = getattr(data, split)
        samples = [dataset[index] for index in range(len(dataset))]
        assert len(samples) == 4  # the small image is a tile of its own
        whole = np.asarray(Image.open(f"large/images/{split}/b.png"))
        for sample, left in zip(samples[1:], LEFTS, strict=True):
            assert np.array_equal(sample.image[0], whole[:, left : left + 96])
            assert torch.equal(sample.target, sample.image[0] // 200)


# ~ endif
def test_threads_read_tiles_of_files_of_several_sizes(workplace):
    write_large(workplace / "large")
    checked = check(composed(*TILED), Settings)
    for _ in range(20):
        data = build_datasets(checked.data).train
        with ThreadPoolExecutor(4) as pool:
            samples = pool.map(data.sample, [*range(len(data))] * 4)
            assert not any(isinstance(sample, images.Unreadable) for sample in samples)


def test_tiles_have_names_and_are_counted_and_small_files_are_not_divided(workplace):
    write_large(workplace / "large")
    data = build_datasets(check(composed(*TILED), Settings).data)
    names = [Path(name).name for name in data.train.names]
    assert names == ["a.png", "b.png (0,0)", "b.png (52,0)", "b.png (104,0)"]
    counted = "2 images of train give 4 tiles, 2 images of val give 4 tiles"
    assert any(note.startswith(f"data.tiles=96: {counted}") for note in data.reading.notes)


def test_files_are_decoded_once_with_the_cache_and_not_to_know_their_size(workplace, monkeypatch):
    write_large(workplace / "large")
    decoded, read = [], images.read_image
    for module in ("data.images", "{{ cookiecutter.task }}.dataset"):
        monkeypatch.setattr(
            f"{{ cookiecutter.package_name }}.{module}.read_image",
            lambda path, *pixels: decoded.append(path) or read(path, *pixels),
            raising=False,
        )
    settings = check(composed(*TILED, "data.cache=disk"), Settings)
    datasets = [build_datasets(settings.data) for _ in range(3)]
    assert decoded == []
    plain = [datasets[0].train[index] for index in range(4)]
    assert len(decoded) == 2  # not once for each tile
    for data in datasets[1:]:
        cache_images(data, settings)
    for data in datasets[1:]:
        for sample, expected in zip(map(data.train.__getitem__, range(4)), plain, strict=True):
            assert torch.equal(sample.image, expected.image)
    assert len(decoded) == 4


def test_every_command_reads_the_tiles_that_were_trained(train, command, workplace, caplog):
    caplog.set_level("INFO")
    write_large(workplace / "large")
    run = train(*TILED, "loader.batch_size=2", "trainer.max_epochs=1")
    command("train", f"resume={run.name}", "trainer.max_epochs=2")
    content = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert content["global_step"] == 4  # four tiles in two epochs
    assert content["settings"]["data"]["tiles"] == 96
    assert "b.png (52,0)" in (run / "report.html").read_text()
    words = (f"checkpoint={run}/checkpoints/best.ckpt", "trainer=cpu", "tracking=none")
    evaluated = command("evaluate", *words)
    assert "4 of 4 images" in (evaluated / "report.html").read_text()
    # ~ if cookiecutter.task == "detection"
    other = command("evaluate", *words, "data=coco", "data.root=large")
    # ~ else
    other = command("evaluate", *words, "data=maskfolder", "data.root=large")
    # ~ endif
    assert "4 of 4 images" in (other / "report.html").read_text()  # tiles, as in training
    words += ("source=large", "save=tables")
    # ~ if cookiecutter.task == "detection"
    words += ("model.score_threshold=0",)
    # ~ endif
    caplog.clear()
    results = [
        (command("predict", *words, *extra) / "predictions.json").read_text()
        for extra in ([], ["data.tiles=null", "tiles=96"], ["data.tiles=null"])
    ]
    (line,) = [text for text in caplog.messages if "tiles=96" in text]
    assert "data.tiles=null" in line
    assert results[0] == results[1] != results[2]


def test_doctor_checks_files_instead_of_tiles(command, workplace):
    write_large(workplace / "large")
    run = command("doctor", *TILED, "steps=0")
    assert json.loads((run / "doctor.json").read_text())["images"]["train"] == 2
