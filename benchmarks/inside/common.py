"""What the scripts share; they run in the environment of a generated project."""

import json
import sys
from typing import Any

from hydra import compose, initialize_config_dir
from shape_sorter.diagnostics.settings import BenchSettings
from shape_sorter.settings import hydra_launch
from shape_sorter.settings.check_settings import check

STEADY = ("tracking=none", "trainer.progress=false", "loader.workers=2")


def settings_of(*overrides: str) -> BenchSettings:
    """The settings of a training, checked."""
    with initialize_config_dir(str(hydra_launch.CONFIGS), version_base="1.3"):
        return check(compose("bench", [*STEADY, *overrides]), BenchSettings)


def answer(**figures: Any) -> None:
    """Tell the figures to who has started this script."""
    sys.stdout.write(f"\n{json.dumps(figures)}\n")
