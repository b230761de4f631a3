"""What could not be done without a server, kept in the run folder until ``wandb-sync``."""

import json
from typing import Any

from ..run.files import write_json
from ..run.folder import Run

FILE = "wandb-pending.json"
LINK = "wandb-url.txt"  # where to look at a run that a server knows
COMPLETE = "complete"  # in the folder of an online run of which all has arrived


def postpone(run: Run, action: dict[str, Any]) -> None:
    """Add an action to those that wait.

    Args:
        run: whose folder keeps them.
        action: ``{"action": "use", "artifact": ...}``,
            ``{"action": "link", "artifact": ..., "target": ..., "alias": ...}``, or what
            ``artifacts.log_files`` makes.
    """
    waiting = pending(run)
    if action not in waiting:
        write_json(run.folder / FILE, [*waiting, action])


def pending(run: Run) -> list[dict[str, Any]]:
    """What waits."""
    path = run.folder / FILE
    waiting: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return waiting


def keep(run: Run, waiting: list[dict[str, Any]]) -> None:
    """Write down what still waits; without any, the file goes."""
    path = run.folder / FILE
    if waiting:
        write_json(path, waiting)
    else:
        path.unlink(missing_ok=True)
