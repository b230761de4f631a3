import pytest
from matplotlib.figure import Figure

from {{ cookiecutter.package_name }}.run.folder import read_metrics
from {{ cookiecutter.package_name }}.training.callbacks.curves import draw_curves
from {{ cookiecutter.package_name }}.training.metrics_file import MetricsFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.csv"


def test_each_row_is_on_the_disk_at_once_and_a_new_metric_adds_a_column(path):
    logger = MetricsFile(path)
    logger.log_metrics({"train/loss": 2.5, "epoch": 0}, 0)
    assert path.read_text() == "epoch,step,train/loss\n0,0,2.5\n"
    logger.log_metrics({"train/loss": 1.5, "epoch": 0}, 1)
    assert path.read_text().endswith("0,1,1.5\n")
    logger.log_metrics({"a": 3.0, "epoch": 0}, 1)
    assert path.read_text() == "a,epoch,step,train/loss\n,0,0,2.5\n,0,1,1.5\n3.0,0,1,\n"


def test_a_resumed_training_continues_the_file_without_the_steps_that_it_repeats(path):
    first = MetricsFile(path)
    for step in range(4):
        first.log_metrics({"train/loss": float(step), "only/first": 1.0}, step)
    with path.open("a") as file:
        file.write("1.0,4")  # the process was killed while it wrote a row
    second = MetricsFile(path, resumed_step=2)
    for step in (2, 3):
        second.log_metrics({"train/loss": 10.0 + step}, step)
    assert [(row["step"], row["train/loss"]) for row in read_metrics(path)] == [
        (0, 0.0),
        (1, 1.0),
        (2, 12.0),
        (3, 13.0),
    ]
    assert MetricsFile(path).log_metrics({"train/loss": 7.0}, 0) is None
    assert read_metrics(path) == [{"step": 0, "train/loss": 7.0}]  # a new training run, a new file


@pytest.mark.figures
def test_no_curves_are_drawn_of_single_values(tmp_path):
    row = {"step": 1.0, "train/loss": 1.0, "val/loss": 1.0, "val/f1": 1.0}
    draw_curves([row, {"step": 2.0, "test/loss": 1.0}], tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
    draw_curves([row, {"step": 2.0, "train/loss": 1.0}], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn."""
    figures = []

    def save(figure, file, dpi):
        figures.append(figure)
        file.touch()

    monkeypatch.setattr(Figure, "savefig", save)
    return figures


def test_the_titles_of_the_curves_are_readable(tmp_path, drawn):
    titles = {
        "train/loss_epoch": "loss",
        "train/lr": "learning rate",
        "val/mean_error": "mean error",
        # ~ if cookiecutter.task == "classification"
        "val/f1": "F1",
        # ~ elif cookiecutter.task == "detection"
        "train/loss_bbox_ctrness": "loss: centre-ness",
        "val/mAP_50": "mAP at IoU 0.50",
        # ~ elif cookiecutter.task == "segmentation"
        "val/dice": "Dice",
        # ~ endif
    }
    rows = [{"epoch": n, "step": n, **dict.fromkeys(titles, 1.0)} for n in range(2)]
    draw_curves(rows, tmp_path / "curves.png")
    assert {axes.get_title() for axes in drawn[0].axes} == {*titles.values()}
    lines = [line for axes in drawn[0].axes for line in axes.lines]
    colors = {line.get_label(): line.get_color() for line in lines}
    assert colors == {"train": "C0", "val": "C1", "train, mean of the epoch": "C2"}
    draw_curves([row | {"val/loss_epoch": 2.0} for row in rows], tmp_path / "curves.png")
    labels = [line.get_label() for axes in drawn[1].axes for line in axes.lines]
    assert "val, mean of the epoch" in labels  # with on_step and on_epoch in a validation


def test_the_curves_number_epochs_as_the_file_does(tmp_path, drawn):
    rows = [{"epoch": n // 2, "step": float(n), "train/loss": 1.0} for n in range(6)]
    draw_curves(rows, tmp_path / "curves.png")
    (upper,) = drawn[0].axes[0].child_axes
    assert [label.get_text() for label in upper.get_xticklabels()] == ["2", "1", "0"]
    assert upper.get_xticks().tolist() == [5, 3, 1]
    draw_curves(rows[:3], tmp_path / "curves.png")
    steps = drawn[1].axes[0].get_xticks()
    assert (steps == steps.round()).all()  # steps are whole numbers


def test_a_metric_with_a_single_value_has_no_curve_beside_others(tmp_path, drawn):
    row = {"epoch": 0.0, "step": 1.0, "train/loss": 1.0, "val/f1": 1.0, "val/recall": 1.0}
    end = {"epoch": 1.0, "step": 2.0}
    rows = [row, row | end, end | {"val/single": 1.0}]
    draw_curves(rows, tmp_path / "curves.png")
    draw_curves([*rows, rows[-1]], tmp_path / "curves.png")
    assert [len(figure.axes) for figure in drawn] == [3, 4]
