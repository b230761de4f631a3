"""Build the image of a generated project with the engine at hand, and use it as people do.

``python tools/try_image.py PROJECT``: builds it with a key lying about, trains as a user that the
image does not know on a read-only root, stops a training, goes on from what it saved, and searches
all layers and the history for the key. Needs Docker, and nothing of Python but the standard library.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

KEY = "planted0" * 5
IMAGE = "try-image"
MOUNTS = ("--volume", "try-image-runs:/workspace/runs", "--volume", "try-image-data:/workspace/data")
STRANGER = ("--read-only", "--tmpfs", "/tmp", "--user", "4242:4242")
SMALL = ("trainer=cpu", "data.train_images=80", "data.val_images=20", "data.test_images=20", "loader.workers=0")
ENDED_BY_SIGTERM = 143


def docker(*words: str) -> str:
    """Run docker with the key in the environment; what it prints."""
    environ = os.environ | {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}
    done = subprocess.run(["docker", *words], env=environ, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"docker {' '.join(words)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout.strip()


def run(*words: str) -> str:
    """Run a command in a container of the image, as a stranger."""
    print("+", *words, flush=True)
    return docker("run", "--rm", *STRANGER, *MOUNTS, "--env", "WANDB_API_KEY", "--env", "WANDB_MODE", IMAGE, *words)


def contents(image: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of all files of a saved image: its configuration and history, and those of each layer."""
    with tarfile.open(image) as archive:
        for member in filter(tarfile.TarInfo.isfile, archive):
            file = archive.extractfile(member)
            assert file is not None
            try:
                layer = tarfile.open(fileobj=file)  # noqa: SIM115 - closed below
            except tarfile.ReadError:
                file.seek(0)
                yield member.name, file.read()
                continue
            with layer:
                for inner in layer:
                    data = layer.extractfile(inner) if inner.isfile() else None
                    yield inner.name, data.read() if data else b""


def unwanted(image: Path, word: str) -> list[str]:
    """Where a word stands in a saved image, and what the last stage has no use for."""
    found = []
    for name, content in contents(image):
        if word in name or word.encode() in content:
            found.append(f"{name}: the key")
        path = Path("/") / name
        left_over = path.name in {".env", ".git"} or path.parts[-2:] == ("bin", "uv")
        if left_over or path.parts[1] in {"app", "cache"}:
            found.append(f"{name}: left over")
    return found


def try_stopping() -> None:
    """Stop a training as an engine does; it must have saved, and go on from there."""
    words = (*STRANGER, *MOUNTS, "--env", "WANDB_MODE", "--env", "TRAIN_RUN_ID=stopped")
    container = docker("run", "--detach", *words, IMAGE, "train", *SMALL, "trainer.max_epochs=1000")
    saved = "from pathlib import Path; print(Path('runs/stopped/checkpoints/last.ckpt').is_file())"
    while docker("exec", container, "python", "-c", saved) != "True":
        time.sleep(1)
    docker("stop", "--timeout", "100", container)
    code = docker("inspect", "--format", "{{.State.ExitCode}}", container)
    print(docker("logs", "--tail", "5", container))
    docker("rm", container)
    if code != str(ENDED_BY_SIGTERM):
        sys.exit(f"A stopped training ended with {code} instead of {ENDED_BY_SIGTERM}.")
    print(run("evaluate", "checkpoint=runs/stopped/checkpoints/last.ckpt", "trainer=cpu", "loader.workers=0"))


def main(project: Path) -> int:
    """Build, run, stop, search."""
    secret = project / ".env"
    if secret.exists():
        sys.exit(f"{secret} is there: this would overwrite it.")
    secret.write_text(f"WANDB_API_KEY={KEY}\n", encoding="utf-8")
    try:
        docker("build", "--tag", IMAGE, str(project))
    finally:
        secret.unlink()
    try:
        print(run("train", *SMALL, "trainer.max_epochs=1"))
        try_stopping()
    finally:
        docker("volume", "rm", "--force", "try-image-runs", "try-image-data")
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.tar"
        docker("save", "--output", str(image), IMAGE)
        found = unwanted(image, KEY)
    print(*found, sep="\n")
    print(f"{len(found)} things in the image that should not be there.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
