import shutil
import unicodedata

import pytest
from PIL import Image

from {{ cookiecutter.package_name }}.classification.csv_labels import _sorted_classes
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
from {{ cookiecutter.package_name }}.data.check_datasets import check_learnable
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.settings.classification import CsvSettings
from {{ cookiecutter.package_name }}.settings.schema import Settings

from small import composed, data_preset

SPLIT = """path,label,split
a.png,cat,train
b.png,dog,Training
c.png,cat,valid
d.png,dog,TEST
"""
LISTS = """path,labels,split
a.png,dog; cat,train
b.png,dog,train
c.png,,val
d.png,cat,test
"""
BINARY = """path,dog,cat,age,split
a.png,1,1,3,train
b.png,1.0,0.0,5,train
c.png,0,0,8,val
d.png,false,TRUE,9,test
"""


@pytest.fixture
def write(tmp_path):
    """Write a CSV file beside images, and return the settings to read it."""

    def settings(text, images=("a", "b", "c", "d"), encoding="utf-8", **changes):
        for name in images:
            path = tmp_path / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(path)
        (tmp_path / "table.csv").write_bytes(text.encode(encoding))
        defaults = data_preset("csv") | {"max_pixels": 100, "root": tmp_path}
        return CsvSettings.model_validate(defaults | changes)

    return settings


def contents(settings):
    """The names and targets of each split."""
    datasets = build_datasets(settings)
    splits = {"train": datasets.train, "val": datasets.val, "test": datasets.test}
    read = {
        split: {
            path.rpartition("/")[2].removesuffix(".png"): target
            for path, target in zip(data.paths.tolist(), data.targets.tolist(), strict=True)
        }
        for split, data in splits.items()
    }
    return list(datasets.classes), read


SINGLE = (["cat", "dog"], {"train": {"a": 0, "b": 1}, "val": {"c": 0}, "test": {"d": 1}})


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (SPLIT, {}),
        (SPLIT, {"encoding": "utf-8-sig"}),
        (SPLIT, {"encoding": "utf-16"}),
        (SPLIT.replace(",", ";").replace("\n", "\r\n"), {}),
        (SPLIT.replace(",", "\t").replace("a.png", '".\\a.png"'), {}),
        (SPLIT.replace("path,label", "id,Breed"), {"path_column": "id", "label_column": "Breed"}),
        (SPLIT.replace(".png", ""), {}),
        (SPLIT + "\n\na.png,cat,train\n", {}),
        (SPLIT.replace("\n", "\r"), {}),
        ("sep=;\n" + SPLIT.replace(",", ";"), {}),
        ("sep=,\n" + SPLIT, {"encoding": "utf-8-sig"}),
        (SPLIT.replace(",", "|"), {}),
        (SPLIT.replace("a.png", "%61.png"), {}),
        (SPLIT.replace(",cat,", ', "cat",'), {}),
        (SPLIT.replace("b.png", "\ufeffb.png"), {}),
        (SPLIT.replace(",", ";").replace("\n", ";;\n"), {}),
        (SPLIT.replace("n\n", "n,\n"), {}),
        (SPLIT.replace(",split", ",split,,").replace("in\n", "in,3,\n"), {}),
    ],
    ids=[
        "plain",
        "mark",
        "UTF-16",
        "semicolons",
        "tabs",
        "named",
        "no suffix",
        "repeated",
        "CR",
        "Excel",
        "Excel with mark",
        "bars",
        "URL",
        "quotes after a space",
        "joined files with marks",
        "empty columns",
        "empty cells at the end of some rows",
        "columns without a name",
    ],
)
def test_each_form_of_a_table_gives_the_same_targets(write, text, changes):
    assert contents(write(text, **changes)) == SINGLE


def test_hidden_tables_are_not_read(write, tmp_path):
    (tmp_path / "._table.csv").write_bytes(b"\0\5\x16\7")
    assert contents(write(SPLIT)) == SINGLE


def test_a_column_of_fastai_tells_the_validation_images(write):
    rows = "a.png,cat,False\nb.png,dog,False\nc.png,cat,True\nd.png,dog,True\n"
    validation = {"c": 0, "d": 1}
    splits = {"train": {"a": 0, "b": 1}, "val": validation, "test": validation}
    assert contents(write(f"path,label,is_valid\n{rows}")) == (["cat", "dog"], splits)


def test_a_column_of_splits_may_have_any_name(write):
    assert contents(write(SPLIT.replace("split", "Phase"))) == SINGLE


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("fold", "01234567"),
        ("Usage", ["Training"] * 4 + ["Private"] * 4),
        ("is_train", "11110000"),
        ("stage", ["holdout"] * 4 + ["train"] * 4),
    ],
)
def test_a_column_that_may_tell_the_splits_in_other_words_is_noted(write, column, values):
    rows = [f"{n}.png,{n % 2},7,{value}" for n, value in enumerate(values)]
    text = "\n".join([f"path,label,age,{column}", *rows])
    notes = build_datasets(write(text, map(str, range(8)))).reading.notes
    start = f"table.csv: the column {column} is not used, since its values, such as "
    assert [start in note for note in notes] == [True, False]
    assert repr(values[-1] if column == "Usage" else values[0]) in notes[0]


def test_images_for_test_without_labels_are_not_used_and_noted(write, tmp_path):
    settings = write(SPLIT.replace("dog,TEST", ",test"))
    reading = build_datasets(settings).reading
    assert reading.notes[0].startswith(f"{tmp_path}/table.csv has no labels for test")
    assert [(part.kind, part.count) for part in reading.left_out] == [("images", 1)]
    assert contents(settings)[1]["test"] == {"c": 0}  # as in val
    (tmp_path / "table.csv").unlink()
    for name, row in {"train": "a.png,cat\nb.png,dog", "val": "c.png,cat"}.items():
        (tmp_path / f"{name}.csv").write_text(f"path,label\n{row}\n")
    (tmp_path / "test.csv").write_text("path,id\nd.png,4\n")
    assert (
        build_datasets(settings).reading.notes[0].startswith(f"{tmp_path}/test.csv has no labels")
    )
    assert contents(settings)[1]["test"] == {"c": 0}


def test_the_root_may_be_the_file_and_images_may_be_in_folders(write, tmp_path):
    settings = write(SPLIT, ("pets/a", "pets/b", "pets/old/c", "d"), root=tmp_path / "table.csv")
    assert contents(settings) == SINGLE


def test_each_split_may_have_its_file(write, tmp_path):
    settings = write(SPLIT)
    (tmp_path / "table.csv").unlink()
    for name, row in {"train": "a.png,cat\nb.png,dog", "val": "c.png,cat"}.items():
        (tmp_path / f"{name}.csv").write_text(f"path,label\n{row}\n")
    without_test = {**SINGLE[1], "test": {"c": 0}}  # those of the validation
    assert contents(settings) == (SINGLE[0], without_test)
    other = tmp_path / "sample_submission.csv"
    other.write_text("path,label\nd.png,0.5\n")
    assert contents(settings) == (SINGLE[0], without_test)
    (part, *_) = build_datasets(settings).reading.left_out
    assert (part.kind, part.reason, part.first) == ("tables", "not named after a split", str(other))
    (tmp_path / "val.csv").unlink()
    (tmp_path / "train.csv").write_text(SPLIT)
    assert contents(settings) == SINGLE
    other.rename(tmp_path / "test_labels.csv")
    with pytest.raises(UsageError, match=r"CSV files there: test_labels\.csv, train\.csv"):
        build_datasets(settings)


@pytest.mark.parametrize(
    ("text", "classes", "changes"),
    [
        (LISTS, ["cat", "dog"], {}),
        (LISTS.replace("dog; cat", "dog|cat"), ["cat", "dog"], {}),
        (LISTS.replace("dog; cat", '"dog,cat"'), ["cat", "dog"], {}),
        (LISTS.replace("dog; cat", "dog / cat"), ["cat", "dog"], {"label_separator": "/"}),
        (LISTS.replace("dog; cat", "dog cat"), ["cat", "dog"], {"label_separator": " "}),
        (BINARY, ["dog", "cat"], {}),
        (BINARY, ["cat", "dog"], {"label_column": ["cat", "dog"]}),
    ],
    ids=["semicolon", "bar", "comma", "named separator", "space", "binary", "named columns"],
)
def test_several_labels_become_a_vector(write, text, classes, changes):
    names, read = contents(write(text, multilabel=True, **changes))
    assert names == classes

    def vector(*labels):
        return [int(name in labels) for name in classes]

    train = {"a": vector("cat", "dog"), "b": vector("dog")}
    assert read == {"train": train, "val": {"c": vector()}, "test": {"d": vector("cat")}}


def test_an_empty_cell_in_the_column_of_a_label_is_read_as_0_and_noted(write, tmp_path):
    settings = write(BINARY.replace("0.0", "").replace("0,0,8", ",,8"), multilabel=True)
    names, read = contents(settings)
    assert names == ["dog", "cat"]
    train = {"a": [1, 1], "b": [1, 0]}
    assert read == {"train": train, "val": {"c": [0, 0]}, "test": {"d": [0, 1]}}
    expected = f"{tmp_path}/table.csv: empty cells in columns of labels are read as 0: 3."
    assert expected in build_datasets(settings).reading.notes


def test_a_label_that_no_validation_image_has_may_be_empty_there(write, tmp_path):
    settings = write(BINARY, multilabel=True)
    (tmp_path / "table.csv").unlink()
    (tmp_path / "train.csv").write_text("path,dog,cat\na.png,1,\nb.png,,1\n")
    (tmp_path / "val.csv").write_text("path,dog,cat\nc.png,1,\n")
    names, read = contents(settings)
    assert (names, read["val"]) == (["dog", "cat"], {"c": [1, 0]})


def test_a_single_column_of_0_and_1_is_a_label(write):
    text = "path,red,split\na.png,1,train\nb.png,0,train\nc.png,1,val\nd.png,0,test\n"
    settings = write(text, multilabel=True, label_column="red")
    assert contents(settings) == (
        ["red"],
        {"train": {"a": [1], "b": [0]}, "val": {"c": [1]}, "test": {"d": [0]}},
    )
    assert (
        "1 in the column red is read as the label red" in build_datasets(settings).reading.notes[0]
    )


def test_names_of_classes_may_share_a_word(write):
    classes, _ = contents(write(SPLIT.replace("dog", "red cat")))
    assert classes == ["cat", "red cat"]


def test_names_with_the_sign_of_a_list_are_names_if_the_separator_is_given(write):
    text = LISTS.replace("d.png,cat", 'd.png,"cat,dog"')
    assert contents(write(text, multilabel=True, label_separator=";"))[0] == [
        "cat",
        "cat,dog",
        "dog",
    ]
    names = LISTS.replace("d.png,cat", 'd.png,"sun, moon"').replace("b.png,dog", 'b.png,"sun, sky"')
    classes, _ = contents(write(names, multilabel=True))  # no part is a label of its own
    assert classes == ["cat", "dog", "sun, moon", "sun, sky"]


def test_a_file_that_locks_a_table_is_no_table(write, tmp_path):
    settings = write(SPLIT)
    (tmp_path / "~$table.csv").write_bytes(b"owner")
    assert contents(settings) == SINGLE


def test_few_words_that_make_up_many_labels_are_probably_lists(write):
    sky, ground = ("clear", "haze"), ("road", "farm", "water")
    cells = [f"{first} {second}" for first in sky for second in ground]
    names = [str(index) for index in range(len(cells) + 1)]
    rows = [f"{name}.png,{cell}" for name, cell in zip(names, cells, strict=False)]
    colored = write("\n".join(["path,tags", *rows]), names, split=[0.5, 0.5, 0])
    assert len(contents(colored)[0]) == 6  # names of two words each, such as "red car"
    rows.append(f"{names[-1]}.png,clear road water")
    with pytest.raises(UsageError, match="line 2: 'clear road' may be several labels"):
        build_datasets(write("\n".join(["path,tags", *rows]), names))


def test_classes_that_are_numbers_are_in_the_order_of_their_values(write):
    text = "path,label,split\na.png,10,train\nb.png,9,train\nc.png,9,val\n"
    assert contents(write(text)) == (
        ["9", "10"],
        {"train": {"a": 1, "b": 0}, "val": {"c": 0}, "test": {"c": 0}},
    )


def test_classes_of_the_same_value_are_in_the_same_order_in_every_process():
    names = ["1", "01", "001", "0001", "00001", "0"]
    assert _sorted_classes([[name] for name in names]) == ["0", "00001", "0001", "001", "01", "1"]


def test_unsplit_images_are_split_by_the_seed_with_every_label_in_each_split(write):
    rows = [f"{index}.png,{'rare' if index < 8 else 'common'}" for index in range(40)]
    names = [str(index) for index in range(40)]
    settings = write("\n".join(["path,label", *rows]), names, split=[0.5, 0.25, 0.25])
    _, first = contents(settings)
    assert contents(settings)[1] == first
    for seed in (1, 2, 3):
        _, read = contents(settings.model_copy(update={"split_seed": seed}))
        counts = [[*part.values()].count(1) for part in read.values()]
        assert (counts, [len(part) for part in read.values()]) == ([4, 2, 2], [20, 10, 10])
        assert read != first


@pytest.mark.parametrize(
    ("text", "message", "changes"),
    [
        (SPLIT.replace("b.png", "e.png"), r"line 3: there is no file .*e\.png", {}),
        (SPLIT.replace("dog,T", ",T"), "line 3: the column label is empty", {}),
        (SPLIT.replace("dog,T", "T"), "line 3: it has 2 cells, but the header has 3", {}),
        (
            SPLIT + "a.png,dog,train\n",
            r"line 6: .*a\.png has other labels in table\.csv, line 2",
            {},
        ),
        (SPLIT + "a.png,cat,val\n", r"line 6: .*a\.png has other split in table\.csv, line 2", {}),
        (SPLIT.replace("valid", "fold 1"), "line 4: split is 'fold 1', which is not a split", {}),
        (
            SPLIT.replace("train", "test").replace("Training", "dev"),
            "the split column has test, val, but no row for train",
            {},
        ),
        (
            SPLIT.replace("b.png", "../b.png"),
            "outside data.root",
            {"images": ("a", "../b", "c", "d")},
        ),
        (SPLIT.replace("b.png", "table.csv"), "line 3: .* is not an image of a format", {}),
        (SPLIT.replace("label", "kind"), "no column with a usual name for the label", {}),
        (SPLIT.replace("split", "class"), "several columns .* the label: label, class", {}),
        (SPLIT, "no column 'breed', but path, label, split", {"label_column": "breed"}),
        (LISTS.replace(",,", ",cat,"), "line 2: 'dog; cat' may be several labels", {}),
        (SPLIT.replace("dog", "dog|fox"), r"line 3: 'dog\|fox' may be several labels", {}),
        (LISTS.replace("; ", " ").replace(",,", ",cat,"), "line 2: 'dog cat' may be several", {}),
        (
            LISTS.replace("d.png,cat", 'd.png,"cat,dog"'),
            "line 5: 'cat,dog' may be several labels.\nIf so, separate all labels by ; only",
            {"multilabel": True},
        ),
        (
            "# exported\n" + SPLIT,
            "line 2: .*\nRemove the lines above the header, such as '# exp",
            {},
        ),
        (SPLIT.replace("dog", "['dog']"), r"line 3: \['dog'\] is in brackets, as a list", {}),
        (SPLIT.replace(",", " "), "but path label split.\nSeparate the columns by a comma", {}),
        (LISTS.replace("; ", "/").replace(",,", ",cat,"), '="/"', {"multilabel": True}),
        *[
            (LISTS.replace("dog; cat", cell), "line 2: .* in brackets, as a list", changes)
            for cell in ("['dog']", '"[""dog"", ""cat""]"', '"{""choices"":[""dog""]}"', "{dog}")
            for changes in ({"multilabel": True}, {"multilabel": True, "label_separator": ","})
        ],
        (LISTS.replace("dog; cat", "\"('dog',)\""), "line 2: .* brackets", {"multilabel": True}),
        (SPLIT.replace("cat,tr", '"{""class"":""cat""}",tr'), "line 2: .* in brackets", {}),
        (SPLIT.replace("split", "label"), "two columns of the same name: label, label.\nRen", {}),
        *[
            (
                SPLIT.replace("label,", "region_id,region_attributes,")
                .replace("cat,", "1,{},")
                .replace("dog,", "0,{},"),
                "VIA writes labels into region_attributes: write them",
                changes,
            )
            for changes in ({}, {"multilabel": True})
        ],
        (BINARY + "a.png,0,1,3,train\n", "line 6: .* has other labels", {"multilabel": True}),
        (BINARY, "If each of dog, cat is a label: data.multilabel=true", {}),
        (BINARY.replace("c.png,0", "c.png,-1"), "line 4: dog is '-1', but", {"multilabel": True}),
        (
            BINARY.replace("1.0,0.0", "-1,0").replace("c.png,0", "c.png,-1"),
            "line 3: dog is '-1', but",
            {"multilabel": True},
        ),
        (SPLIT.replace("dog", "Hündin"), "not UTF-8 text: line 3", {"encoding": "cp1252"}),
        ("path,label\n", "has no rows below its header", {}),
        ("path,label,split\na.png,,test\nb.png,,test\n", "all rows are for test", {}),
    ],
)
def test_a_wrong_row_or_column_is_named(write, text, message, changes):
    with pytest.raises(UsageError, match=message):
        build_datasets(write(text, **changes))


def test_what_is_read_and_left_out_is_counted(write, tmp_path):
    settings = write(SPLIT + "a.png,cat,train\n", ("x/a", "x/b", "x/c", "x/d", "y/e"))
    (tmp_path / "x" / "f.heic").touch()
    reading = build_datasets(settings).reading
    assert reading.images == {"train": 2, "val": 1, "test": 1}
    assert reading.objects["train"] == {"cat": 1, "dog": 1}
    left_out = [(part.kind, part.reason, part.count) for part in reading.left_out]
    assert left_out == [
        ("rows", "repeated", 1),
        ("images", "without a label in the CSV file", 1),
        ("images", ".heic is not read: uv add pillow-heif", 1),
    ]
    several = build_datasets(write(BINARY, multilabel=True)).reading
    assert several.objects["train"] == {"dog": 2, "cat": 1}
    assert several.notes == [f"{tmp_path}/table.csv: the labels are dog, cat; not used: age."]


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_names_without_the_zeros_of_the_files_are_read_and_noted(write, tmp_path, suffix):
    text = f"path,label,split\n1{suffix},cat,train\n2{suffix},dog,train\n10{suffix},cat,val\n"
    settings = write(
        text, ("x/0001", "x/0002", "x/0010") if not suffix else ("0001", "0002", "0010")
    )
    assert contents(settings)[1]["train"] == {"0001": 0, "0002": 1}
    note = build_datasets(settings).reading.notes[0]
    assert f"spreadsheets drop: 3, such as 1{suffix}, which is read as {tmp_path}" in note
    write(text, ("x/01", "01"))
    with pytest.raises(UsageError, match=f"line 2: (there is no file|several images) .*1{suffix}"):
        build_datasets(settings)


def test_folders_without_the_zeros_are_read_and_noted(write):
    settings = write(SPLIT.replace("a.png", "7/1.png"), ("007/1", "b", "c", "d"))
    note = build_datasets(settings).reading.notes[0]
    assert "spreadsheets drop: 1, such as 7/1.png, which is read as " in note
    # Only the suffix is missing.
    settings = write(SPLIT.replace("a.png", "01"), ("01", "b", "c", "d"))
    assert not any("zeros" in note for note in build_datasets(settings).reading.notes)


def test_another_table_and_one_of_pixels_are_refused(write, tmp_path):
    write("label," + ",".join(f"pixel{index}" for index in range(784)) + "\n" + "0," * 784 + "0")
    with pytest.raises(
        UsageError, match=r"the path, but label, pixel0, .*, pixel10 and 773 more\.\n"
    ):
        build_datasets(write((tmp_path / "table.csv").read_text()))
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "label": 1}\n')
    with pytest.raises(UsageError, match=r"metadata\.jsonl is not a CSV file\.\nSave"):
        build_datasets(write(SPLIT, root=tmp_path / "metadata.jsonl"))


def test_labels_that_each_belong_to_one_image_are_refused(write):
    rows = "".join(f"{index}.png,{index * 0.7}\n" for index in range(20))
    reading = build_datasets(write(f"path,label\n{rows}", map(str, range(20)))).reading
    with pytest.raises(UsageError, match=r"train has no images of any class that val has, .*: 20"):
        check_learnable(reading)


def test_an_image_of_iphones_is_refused_with_the_package_that_reads_it(write, tmp_path):
    (tmp_path / "a.heic").touch()
    with pytest.raises(UsageError, match=r"a\.heic is not an image .*\n.*: uv add pillow-heif"):
        build_datasets(write(SPLIT.replace("a.png", "a.heic")))


def test_a_label_that_may_be_missing_is_noted(write, tmp_path):
    reading = build_datasets(write(SPLIT.replace("dog", "NaN"))).reading
    assert reading.notes[0].startswith(f"{tmp_path}: NaN is read as a class. If")
    assert reading.objects["train"] == {"NaN": 1, "cat": 1}


def test_a_missing_image_is_left_out_and_counted(write):
    reading = build_datasets(write(SPLIT + "e.png,cat,val\n", skip_unreadable=True)).reading
    assert reading.images == {"train": 2, "val": 1, "test": 1}
    (part,) = reading.left_out
    assert (part.kind, part.reason, part.split) == ("images", "the file is missing", "val")


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("suffix", [".png", ""])
def test_names_match_in_any_unicode_form(write, written, stored, suffix):
    names = [unicodedata.normalize(form, "h\u00fcndin") for form in (written, stored)]
    settings = write(SPLIT.replace("b.png", f"{names[0]}{suffix}"), ("a", names[1], "c", "d"))
    assert contents(settings)[1]["train"] == {"a": 0, names[1]: 1}


def test_a_training_of_one_class_is_refused_unless_some_images_have_no_label(write):
    text = SPLIT.replace("b.png,dog", "b.png,cat")
    with pytest.raises(UsageError, match="All images of train have the class cat"):
        check_learnable(build_datasets(write(text)).reading)
    with pytest.raises(UsageError, match="All images of train have the class cat"):
        check_learnable(build_datasets(write(text, multilabel=True)).reading)
    reading = build_datasets(write(text.replace("b.png,cat", "b.png,"), multilabel=True)).reading
    check_learnable(reading)
    assert reading.notes[0] == "train has no labels of dog: they cannot be learned."


@pytest.mark.parametrize(
    "prefix",
    ["/data/upload/3/", "http://localhost:8080/data/upload/", "/data/local-files/?d=photos/"],
)
def test_paths_of_label_studio_are_those_of_its_images(write, prefix):
    rows = SPLIT.replace(".png,", "-a.png,").replace("\n", f"\n{prefix}").removesuffix(prefix)
    settings = write(rows, [f"photos/{name}-a" for name in "abcd"])
    read = {"train": {"a-a": 0, "b-a": 1}, "val": {"c-a": 0}, "test": {"d-a": 1}}
    assert contents(settings) == (["cat", "dog"], read)
    (settings.root / "photos" / "b-a.png").unlink()
    with pytest.raises(UsageError, match=r"line 3: there is no file .*b-a\.png"):
        build_datasets(settings)


def test_each_row_of_an_image_may_name_another_label(write, tmp_path):
    rows = ["a.png,cat", "b.png,dog", "a.png,fox", "a.png,cat", "c.png,", "d.png,fox;dog"]
    splits = ["train"] * 4 + ["val", "test"]
    lines = map(",".join, zip(rows, splits, strict=True))
    settings = write("\n".join(["path,label,split", *lines]), multilabel=True)
    assert contents(settings) == (
        ["cat", "dog", "fox"],
        {
            "train": {"a": [1, 0, 1], "b": [0, 1, 0]},
            "val": {"c": [0, 0, 0]},
            "test": {"d": [0, 1, 1]},
        },
    )
    (note,) = build_datasets(settings).reading.notes
    assert note == (
        f"{tmp_path}/table.csv: the labels of several rows of an image are joined, as in "
        f"{tmp_path}/a.png. Number of such images: 1."
    )


@pytest.mark.parametrize("name", ["_classes.csv", "metadata.csv"])
def test_each_folder_of_a_split_may_have_a_table(write, tmp_path, name):
    settings = write("", ["train/a", "train/b", "valid/a", "test/d"], multilabel=True)
    (tmp_path / "table.csv").unlink()
    for split, rows in {
        "train": "a.png, 1, 0\nb.png, 1, 1\n",
        "valid": "a.png, 0, 1\n",
        "test": "d.png, 0, 0\n",
    }.items():
        (tmp_path / split / name).write_text(f"filename, cat, dog\n{rows}")
    assert contents(settings) == (
        ["cat", "dog"],
        {"train": {"a": [1, 0], "b": [1, 1]}, "val": {"a": [0, 1]}, "test": {"d": [0, 0]}},
    )
    datasets = build_datasets(settings)
    assert datasets.val.paths.tolist() == [str(tmp_path / "valid" / "a.png")]
    assert not datasets.reading.left_out
    shutil.copy(tmp_path / "valid" / name, tmp_path / "valid" / "copy.csv")
    for other in ("_classes.csv", "metadata.csv"):
        shutil.copy(tmp_path / "valid" / "copy.csv", tmp_path / "valid" / other)
    expected = r"valid/_classes\.csv and .*/valid/metadata\.csv both list the images\.\nKeep one"
    with pytest.raises(UsageError, match=expected):
        build_datasets(settings)


def test_a_name_of_two_images_and_a_folder_of_two_files_are_refused(write, tmp_path):
    settings = write(SPLIT, ("x/a", "y/a", "b", "c", "d"))
    with pytest.raises(UsageError, match=r"line 2: several images .* are called a\.png"):
        build_datasets(settings)
    (tmp_path / "other.csv").write_text(SPLIT)
    with pytest.raises(UsageError, match=r"CSV files there: other\.csv, table\.csv"):
        build_datasets(settings)


def test_a_name_with_a_separator_may_be_a_single_label(write):
    rows = ["a.png,dog; cat,train", "b.png,cat,train", "c.png,cat,val"]
    settings = write("\n".join(["path,label,split", *rows]), label_separator="")
    assert contents(settings)[0] == ["cat", "dog; cat"]


@pytest.mark.parametrize(
    ("name", "changes"), [("[cat]", {}), ('[""cat""]', {"label_separator": ""})]
)
def test_a_name_may_be_in_brackets(write, name, changes):
    classes, _ = contents(write(SPLIT.replace("cat", f'"{name}"'), **changes))
    assert classes == [name.replace('""', '"'), "dog"]


def test_several_labels_are_monitored_by_mAP():  # noqa: N802
    overrides = ("data=csv", "data.root=x", "tracking=none")
    assert Settings.model_validate(composed(*overrides)).monitor == "val/accuracy"
    several = Settings.model_validate(composed(*overrides, "data.multilabel=true"))
    assert several.monitor == "val/mAP"
