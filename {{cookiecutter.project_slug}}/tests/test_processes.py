import os
import subprocess
import sys
from pathlib import Path

from small import SHAPES, SMALL


def test_two_processes_share_one_run_folder(workplace):
    script = Path(sys.executable).with_name("train")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRAIN_")}
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=1")
    # ~ if cookiecutter.use_wandb
    two += ("tracking=wandb", "tracking.mode=offline")
    # ~ endif
    subprocess.run([script, *SMALL, *SHAPES, *two], check=True, env=environ, timeout=600)
    (run,) = (workplace / "runs").iterdir()
    assert (run / "metrics.json").is_file()
    assert len(list((run / "predictions").iterdir())) == 1
    assert len((run / "metrics.csv").read_text().splitlines()) > 2
    # ~ if cookiecutter.use_wandb
    assert len(list(run.glob("wandb/offline-run-*/*.wandb"))) == 1  # the other rank makes none
    # ~ endif
