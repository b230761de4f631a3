"""What a run is told of itself: settings, code, data and model, without secrets."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule

from ..data.images import files_below
from ..run.environment import SECRET, environment, without_secrets
from ..settings.tree import Settings

ANNOTATIONS = {".json", ".txt", ".yaml", ".yml", ".csv"}  # whose content counts, not size alone
MOST_PATCH_BYTES = 1_000_000


def run_config(settings: Settings) -> dict[str, Any]:
    """The resolved settings, the state of the code and the version of the data."""
    tree: dict[str, Any] = settings.model_dump(mode="json", by_alias=True)
    state = environment()
    tree["git"] = {"commit": state["git_commit"], "dirty": state["git_dirty"]}
    tree["command"] = state["command"]
    return masked(tree)


def masked(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy with the values of secret-looking keys replaced."""
    return {
        key: masked(value)
        if isinstance(value, dict)
        else "***"
        if SECRET.search(key) and value
        else without_secrets(value)
        if isinstance(value, str)
        else value
        for key, value in tree.items()
    }


def patch() -> str:
    """What is not committed yet, as a patch, without what looks like a secret; "" if nothing is."""
    try:
        done = subprocess.run(
            ["git", "diff", "HEAD"],  # noqa: S607 - whichever git the user has
            capture_output=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""  # no git, no repository or no commit
    text = done.stdout[:MOST_PATCH_BYTES].decode(errors="replace")
    return without_secrets(text)


def fingerprint(root: Path) -> str:
    """Twelve letters that change with the data: with any file's name or size.

    Of annotation files the content counts as well. Images are not read, so that a large data set
    costs no more than a listing; an image that is replaced by one of the same size goes unnoticed.
    """
    digest = hashlib.sha256()
    for path in map(Path, files_below(root)):
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        if path.suffix.lower() in ANNOTATIONS:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def config_hash(config: dict[str, Any]) -> str:
    """Twelve letters that two runs share if they have the same settings."""
    named = {key: value for key, value in config.items() if key not in {"command", "git"}}
    return hashlib.sha256(repr(sorted(named.items())).encode()).hexdigest()[:12]


def model_size(module: LightningModule) -> dict[str, float]:
    """Parameters, those that are trained, and megabytes in memory."""
    parameters = list(module.parameters())
    return {
        "parameters": sum(one.numel() for one in parameters),
        "trainable": sum(one.numel() for one in parameters if one.requires_grad),
        "megabytes": round(sum(one.numel() * one.element_size() for one in parameters) / 1e6, 3),
    }
