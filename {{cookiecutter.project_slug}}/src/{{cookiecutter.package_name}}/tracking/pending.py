"""Store the actions of a run that need a server, for ``wandb-sync``."""

import json
from typing import Any

from ..run.atomic_files import write_json
from ..run.folder import Run

PENDING = "wandb-pending.json"  # in a run folder: the actions


def postpone(run: Run, action: dict[str, Any]) -> None:
    """Store an action that needs a server, for ``wandb-sync``.

    The action is ``{"action": "use", "artifact": ...}``, or ``link`` with the arguments of
    ``registry.link``, ``log`` with those of ``log_again``, or ``data`` with the ``version`` of the
    data set, its fingerprint.
    """
    actions = pending(run)
    if action not in actions:
        write_json(run.folder / PENDING, [*actions, action])


def pending(run: Run) -> list[dict[str, Any]]:
    """Return the stored actions of a run that need a server."""
    path = run.folder / PENDING
    actions: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return actions
