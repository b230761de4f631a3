"""The command ``wandb-report``: a saved view of the project, and a report that compares runs."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pydantic import Field

from ..errors import UsageError
from ..settings.check_settings import Strict, check, flattened
from ..settings.hydra_launch import launch
from ..settings.schema import METRICS, monitored
from .client import public_api, reason
from .settings import WandbSettings

GRID: dict[str, Any] = {"grid_x_axis": "run", "grid_y_axis": "index"}  # of validation images
# Entries of a run's configuration that tell nothing about its settings.
NO_SETTINGS = {"_wandb", "command", "data_fingerprint", "git", "resume", "runs"}
SYSTEM = ("system/cpu", "system/memory_percent", "system/gpu.0.gpu", "perf/images_per_second")


class ReportSettings(Strict):
    """The settings of ``wandb-report``; their defaults are in ``configs/report.yaml``."""

    runs: Path = Field(description="The folder that holds the run folders.")
    group: str | None = Field(description="Compare the runs of this group (tracking.group).")
    sweep: str | None = Field(description="Compare the runs of the sweep with this id.")
    tracking: WandbSettings


def main() -> None:
    """Run the command ``wandb-report``."""
    launch("report", ReportSettings, _report)


def _report(config: DictConfig) -> None:
    settings = check(config, ReportSettings)
    if find_spec("wandb_workspaces") is None:
        raise UsageError("wandb-workspaces is not installed. Install it: uv sync --extra report")
    try:
        print(*run_report(settings), sep="\n")
    except UsageError:
        raise
    except Exception as error:  # wandb raises many kinds
        raise UsageError(f"The report cannot be saved: {reason(error)}") from error


def run_report(settings: ReportSettings) -> list[str]:
    """Save a view and a report of training runs, and return the addresses of both."""
    api = public_api(settings.tracking.model_dump())
    entity, project = settings.tracking.entity or api.default_entity, settings.tracking.project
    chosen = {"group": settings.group, "sweep": settings.sweep}
    filters = {name: value for name, value in chosen.items() if value}
    job = settings.tracking.job_type or os.environ.get("WANDB_JOB_TYPE") or "train"
    of_what = ", ".join(f"{name} {value}" for name, value in filters.items())
    filters["jobType"] = job
    runs = list(api.runs(f"{entity}/{project}", filters=filters))
    if not runs:
        raise UsageError(
            f"{entity}/{project} has no runs of {of_what or 'any group'} with the job type {job}.\n"
            "To name another job type: tracking.job_type=<job type>"
        )
    monitor = monitored({name for run in runs for name in dict(run.summary)})
    place = {"entity": str(entity), "project": str(project)}
    page = api.sweep(f"{entity}/{project}/{settings.sweep}").url if settings.sweep else None
    title = f"Training runs of {of_what}" if of_what else "All training runs"
    columns = varied([run.config for run in runs])
    comparison = _comparison(place, title, filters, monitor, columns, page)
    return [_view(place, monitor).save().url, comparison.save().url]


def varied(configs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the dotted names of the settings in which runs differ, with their columns in W&B."""
    chosen = [{key: config[key] for key in config.keys() - NO_SETTINGS} for config in configs]
    trees = [flattened(tree) for tree in chosen]
    columns = {}
    for name in sorted({name for tree in trees for name in tree}):
        if len({repr(tree.get(name)) for tree in trees}) > 1:
            # The agent of a sweep records the key "a.b", all others b in the group a.
            is_flat = any(name in tree for tree in chosen)
            first, *inner = [name] if is_flat else name.split(".")
            columns[name] = ".".join([f"config:{first}", "value", *inner])
    return columns


def _view(place: dict[str, str], monitor: str) -> Any:
    """Return a workspace with the loss, the score, the validation images and the machine."""
    import wandb_workspaces.reports.v2 as wr  # noqa: PLC0415 - it may be missing
    import wandb_workspaces.workspaces as ws  # noqa: PLC0415

    # ~ if cookiecutter.task == "detection"
    losses = ["train/loss"]
    # ~ else
    losses = ["train/loss", "val/loss"]
    # ~ endif
    curves = {"Loss": losses, monitor: [monitor]}
    training = [wr.LinePlot(title=key, x="epoch", y=names) for key, names in curves.items()]
    pictures = wr.MediaBrowser(media_keys=["val/predictions"], **GRID)
    system = [wr.LinePlot(title=name.split("/")[1], y=[name]) for name in SYSTEM]
    sections = [
        ws.Section(name="Training", panels=training, is_open=True),
        ws.Section(name="Predictions", panels=[pictures], is_open=True),
        ws.Section(name="System", panels=system),
    ]
    return ws.Workspace(**place, name="Training", sections=sections)


def _comparison(
    place: dict[str, str],
    title: str,
    filters: dict[str, str],
    monitor: str,
    settings: dict[str, str],
    page: str | None,
) -> Any:
    """Return a report: the best runs, the settings that vary, their importance, and images.

    wandb-workspaces cannot name keys such as "a.b" as axes, so the report of a sweep refers to its
    ``page``, on which W&B shows parallel coordinates.
    """
    import wandb_workspaces.reports.v2 as wr  # noqa: PLC0415 - it may be missing
    from wandb_workspaces import expr  # noqa: PLC0415

    best = f"{monitor}.{METRICS[monitor]}"  # in the summary of a run
    rules = (expr.Metric(f"{key[0].upper()}{key[1:]}") == value for key, value in filters.items())
    runs = wr.Runset(
        **place,
        name="Training runs",
        filters=expr.And(*rules),
        order=[wr.OrderBy(wr.SummaryMetric(best), ascending=METRICS[monitor] == "min")],
        pinned_columns=[f"summary:{best}", *settings.values()],
    )
    axes = [*(wr.Config(name) for name in settings), wr.SummaryMetric(best)]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]
    link = f"[Parallel coordinates of the sweep]({page})"
    sections = {
        "Best runs": [
            wr.BarPlot(title=f"Best {monitor}", metrics=[best], max_bars_to_show=10),
            wr.LinePlot(title=monitor, x="epoch", y=[monitor], max_runs_to_show=10),
        ],
        "Settings that vary": [
            wr.MarkdownPanel(markdown=link) if page else wr.ParallelCoordinatesPlot(columns=columns)
        ],
        "Importance of the settings": [wr.ParameterImportancePlot(with_respect_to=best)],
        "Predictions": [wr.MediaBrowser(media_keys=["val/predictions"], **GRID)],
    }
    blocks: list[Any] = []
    for heading, panels in sections.items():
        blocks += [wr.H1(heading), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(**place, title=title, blocks=blocks)
