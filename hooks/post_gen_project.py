"""Remove the files of declined options, by one manifest, then print the next commands."""

import json
import shutil
import sys
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
PACKAGE = "src/" + ANSWERS["package_name"]
TASK = PACKAGE + "/" + ANSWERS["task"]

# The files and folders that each option, or each answer to it, brings. Single lines go by
# conditionals in the files.
DECLINED = (False, "none", "essential")  # the answers that bring nothing
IN_DEPTH = (  # modules of tracking/ that only a complete project has
    *("alerts", "charts", "embeddings", "lineage", "promote", "provenance"),
    *("registry", "sync", "tables"),
    *(["task"] if ANSWERS["task"] == "classification" else []),
)
TASKS = {
    "classification": [
        PACKAGE + "/classification",
        PACKAGE + "/settings/classification.py",
        PACKAGE + "/configs/data/imagefolder.yaml",
        "tests/classification",
    ],
    "detection": [
        PACKAGE + "/detection",
        PACKAGE + "/settings/detection.py",
        PACKAGE + "/data/coco.py",
        PACKAGE + "/configs/data/coco.yaml",
        PACKAGE + "/configs/data/yolo.yaml",
        "tests/detection",
        "tests/coco_data.py",
        "tests/test_coco.py",
    ],
    "segmentation": [
        PACKAGE + "/segmentation",
        PACKAGE + "/settings/segmentation.py",
        PACKAGE + "/data/coco.py",
        PACKAGE + "/configs/data/coco.yaml",
        PACKAGE + "/configs/data/maskfolder.yaml",
        "tests/segmentation",
        "tests/coco_data.py",
        "tests/test_coco.py",
    ],
}
OPTIONS = {
    "scope": [
        # Export
        PACKAGE + "/export",
        PACKAGE + "/configs/export.yaml",
        TASK + "/export.py",
        "docs/export.md",
        "tests/test_export.py",
        *(["tests/detection/test_exported_boxes.py"] if ANSWERS["task"] == "detection" else []),
        # Search
        PACKAGE + "/search",
        PACKAGE + "/configs/tune.yaml",
        "docs/search.md",
        "tests/test_compare.py",
        "tests/test_tune.py",
        # Diagnostics
        PACKAGE + "/diagnostics",
        PACKAGE + "/configs/bench.yaml",
        PACKAGE + "/configs/doctor.yaml",
        "docs/speed.md",
        "tests/test_diagnostics.py",
        # Cache and videos
        PACKAGE + "/data/cache.py",
        PACKAGE + "/data/videos.py",
        "tests/test_cache.py",
        "tests/test_videos.py",
        # Clusters
        PACKAGE + "/clusters",
        PACKAGE + "/configs/hydra",
        PACKAGE + "/run/processes.py",
        "docs/clusters.md",
        "slurm",
        "tests/test_preemption.py",
        "tests/test_slurm.py",
        # Weights & Biases in depth
        PACKAGE + "/configs/promote.yaml",
        *(f"{PACKAGE}/tracking/{module}.py" for module in IN_DEPTH),
        ".github/workflows/train.yml",
        "docs/leet.png",
        "docs/tracking.md",
        "sweeps",
        *("tests/tracking/test_" + name + ".py" for name in ("alerts", "lineage", "media", "promote")),
        *("tests/tracking/test_" + name + ".py" for name in ("sync", "tables")),
    ],
    "use_wandb": [
        PACKAGE + "/tracking",
        PACKAGE + "/configs/tracking/wandb.yaml",
        PACKAGE + "/configs/promote.yaml",
        "tests/tracking",
        "docs/leet.png",
        "docs/tracking.md",
        "sweep.yaml",
        "slurm/sweep.sbatch",
        "sweeps",
        ".github/workflows/train.yml",
    ],
    "use_docker": [
        "Dockerfile",
        ".dockerignore",
        ".devcontainer",
        "compose.yaml",
        "docs/docker.md",
        "data/.gitkeep",
        "runs/.gitkeep",
    ],
    "ci": [".github"],
    "license": ["LICENSE"],
}


def declined(answers):
    """Paths, relative to the project, that the answers leave out."""
    chosen = TASKS[answers["task"]]  # some tasks share a file
    names = [name for brought in TASKS.values() for name in brought if name not in chosen]
    for option, brought in OPTIONS.items():
        if answers[option] in DECLINED:
            names += brought
    return names


def strip(root, answers):
    """Delete the files of declined options below `root`, and the folders that this empties."""
    for name in declined(answers):
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == root or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()


def main():
    strip(Path.cwd(), ANSWERS)
    slug = ANSWERS["project_slug"]
    print("\nYour project is in %s. Next:\n" % slug)
    print("    cd %s" % slug)
    print("    uv run train      # trains on embedded data; the pictures are in runs/")
    print("    uv run pytest     # the project's own tests\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
