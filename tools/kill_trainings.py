"""Kill trainings at random moments, and compare them with a training that nothing has interrupted.

``PROJECT/.venv/bin/python tools/kill_trainings.py PROJECT --kills 100 loader.workers=2``, with a generated project and
settings for all trainings. Each training is interrupted up to three times, by SIGKILL, SIGTERM, SIGUSR1 or Ctrl-C, and
resumed. In the end, its checkpoints, its rows of ``metrics.csv`` without the columns of time, and its pictures must be
equal to those of the uninterrupted training, bit by bit, and W&B must have each row of the training once. Exits with 1
if any of them is not.
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # forked processes cannot use the threads of their parent
torch: Any = import_module("torch")  # a package of the project, not of this repository

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
MOST = 3  # interruptions of a training
PATIENCE = 300  # seconds until a training counts as hanging


class Trainings:
    """Start trainings in processes of their own, in the current folder."""

    def __init__(self, project: Path, words: Sequence[str]) -> None:
        sys.path.insert(0, str(project / "tests"))
        small = import_module("small")
        self.package = next(path.parent.name for path in project.glob("src/*/cli.py"))
        self.words = [*small.SMALL, *small.SHAPES, "data.train_images=96", "trainer.max_epochs=3", *words]
        self.several = any(word.startswith("trainer.devices=") for word in words)
        if not self.several:  # forked processes need not import the packages again
            import_module(f"{self.package}.train")

    def start(self, name: str) -> int:
        """Start or resume the training with this run id; returns the id of its process."""
        resume = [f"resume={name}"] if Path("runs", name, "checkpoints", "last.ckpt").is_file() else []
        with Path(f"{name}.log").open("ab") as log:
            if self.several:  # Lightning starts the other processes with the same command line
                command = [str(Path(sys.executable).with_name("train")), *self.words, *resume]
                environ = os.environ | {"TRAIN_RUN_ID": name}
                return subprocess.Popen(command, stdout=log, stderr=log, env=environ, start_new_session=True).pid
            child = os.fork()
            if child:
                return child
            os.setsid()
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.environ["TRAIN_RUN_ID"] = name
        sys.argv = ["train", *self.words, *resume]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = 1
        try:
            import_module(f"{self.package}.cli").train()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            print(end, file=sys.stderr)
        except BaseException:  # noqa: BLE001 - the process ends here
            traceback.print_exc()
        sys.stdout.flush()
        if "wandb" in sys.modules:
            sys.modules["wandb"].teardown()
        os._exit(code)

    def finish(self, name: str) -> float:
        """Train to the end; returns the seconds it took."""
        began = time.monotonic()
        code = wait(self.start(name), PATIENCE)
        if code != 0:
            sys.exit(f"{name} ended with {code}:\n{Path(f'{name}.log').read_text()[-3000:]}")
        return time.monotonic() - began

    def interrupt(self, name: str, moment: random.Random, seconds: float) -> str | None:
        """Start a training and send it a random signal at a random moment; returns the name of the signal."""
        process = self.start(name)
        if wait(process, moment.uniform(0.1, seconds)) is not None:
            return None
        signum = moment.choice(SIGNALS)
        if signum in {signal.SIGKILL, signal.SIGINT}:  # a machine that is lost, or a terminal
            os.killpg(process, signum)
        else:
            os.kill(process, signum)
        if wait(process, PATIENCE) is None:
            os.killpg(process, signal.SIGKILL)
            sys.exit(f"{name} hangs after {signum.name}:\n{Path(f'{name}.log').read_text()[-3000:]}")
        return signum.name


def wait(process: int, seconds: float) -> int | None:
    """Return the exit code of a process, or None if it still runs after some seconds."""
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.005)


def differences(run: Path, whole: Path) -> Iterator[str]:
    """Yield what differs between a run and the uninterrupted run."""
    for name in ("last.ckpt", "best.ckpt"):
        contents = [torch.load(folder / "checkpoints" / name, weights_only=True) for folder in (run, whole)]
        for key in ("state_dict", "trained_weights", "optimizer_states", "global_step", "position"):
            if not equal(*(content.get(key) for content in contents)):
                yield f"{name}: {key}"
    if rows(run) != rows(whole):
        yield "metrics.csv"
    pictures = [{str(path.relative_to(folder)) for path in drawn(folder)} for folder in (run, whole)]
    yield from sorted(pictures[0] ^ pictures[1])
    for name in sorted(pictures[0] & pictures[1]):
        if (run / name).read_bytes() != (whole / name).read_bytes():
            yield name
    if collections.Counter(history(run)) != collections.Counter(history(whole)):
        yield "the history of W&B"


def equal(first: Any, second: Any) -> bool:
    """Return whether nested dictionaries and lists hold the same tensors, bit by bit."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return bool(first.numpy().tobytes() == second.numpy().tobytes())
    return bool(first == second)


def rows(run: Path) -> list[dict[str, str]]:
    """Return the rows of ``metrics.csv`` without the columns of time."""
    lines = [line.split(",") for line in (run / "metrics.csv").read_text(encoding="utf-8").splitlines()]
    names = lines[0]
    return [
        {name: cell for name, cell in zip(names, line, strict=True) if cell and not name.startswith("perf/")}
        for line in lines[1:]
    ]


def drawn(run: Path) -> list[Path]:
    """Return the pictures of a run, without those of W&B and hidden files of a killed process."""
    pictures = (path for path in run.rglob("*.png") if not path.name.startswith("."))
    return [path for path in pictures if "wandb" not in path.relative_to(run).parts]


def history(run: Path) -> Iterator[str]:
    """Yield the metrics and the hashes of media of each row in the files of W&B, without the columns of time."""
    for file in sorted(run.glob("wandb/*run-*/*.wandb")):
        words = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        records = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
        for row in (record["history"]["item"] for record in records if record["type"] == "history"):
            exact = {name: value for name, value in row.items() if is_exact(name, value)}
            if exact.keys() - {"epoch", "trainer/global_step"}:
                yield json.dumps(exact, sort_keys=True)


def is_exact(name: str, value: Any) -> bool:
    """Return whether W&B must have this value once: a metric, or the hash of an image.

    A run that is resumed after its training logs what follows the training again: the results of the test, the
    animation and the embeddings.
    """
    if name.startswith(("test/", "val/epochs", "val/embeddings")):
        return False
    if isinstance(value, str):
        return name.endswith(".sha256")
    return isinstance(value, int | float) and not name.startswith(("_", "perf/")) and "." not in name


def main() -> None:
    """Kill trainings until the number of kills is reached, and print how many of them ended exactly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the signals")
    parser.add_argument("settings", nargs="*")
    options = parser.parse_intermixed_args()
    trainings = Trainings(options.project.resolve(), options.settings)
    os.chdir(tempfile.mkdtemp(prefix="kills-"))
    print(Path.cwd(), flush=True)
    moment = random.Random(options.seed)
    trainings.finish("whole")  # draws the data, too
    seconds = trainings.finish("again")
    if found := list(differences(Path("runs/again"), Path("runs/whole"))):
        sys.exit(f"Two trainings that were not interrupted differ: {', '.join(found)}")
    results: dict[str, list[str]] = {}
    kills: collections.Counter[str] = collections.Counter()
    while kills.total() < options.kills:
        name = f"killed-{len(results)}"
        for _ in range(moment.randint(1, min(MOST, options.kills - kills.total()))):
            kills.update(filter(None, [trainings.interrupt(name, moment, seconds)]))
        trainings.finish(name)
        results[name] = list(differences(Path("runs", name), Path("runs/whole")))
        print(f"{name}: {', '.join(results[name]) or 'exact'} after {kills.total()} kills", flush=True)
    exact = sum(not found for found in results.values())
    print(f"{kills.total()} kills ({dict(kills)}): {exact} of {len(results)} trainings ended exactly.")
    sys.exit(exact < len(results))


if __name__ == "__main__":
    main()
