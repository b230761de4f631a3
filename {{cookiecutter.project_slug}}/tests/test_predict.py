from pathlib import Path

from {{ cookiecutter.package_name }}.predict import output_names


def test_outputs_of_equal_names_get_the_position_of_their_source():
    sources = ["00002_a.jpg", "a.jpg", "a.png", "b/A.jpg", "b/c.jpg", "...jpg", ".x.png"]
    names = output_names(map(Path, sources))
    assert [names[Path(source)] for source in sources] == [
        "00002_a",
        "a",
        "00002_00002_a",
        "00003_A",
        "c",
        "00005_..",
        "00006_.x",
    ]
