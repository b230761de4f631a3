"""Remove what was declined, by one manifest, then say what to run next."""

import json
import shutil
import sys
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
PACKAGE = "src/" + ANSWERS["package_name"]

# What each option, or each answer to it, brings. Whole files and folders only: single lines go by
# conditionals in the files.
TASKS = {
    "classification": [
        PACKAGE + "/classification",
        PACKAGE + "/settings/classification.py",
        PACKAGE + "/tracking/classification.py",
        PACKAGE + "/configs/data/imagefolder.yaml",
        "tests/classification",
    ],
    "detection": [
        PACKAGE + "/detection",
        PACKAGE + "/settings/detection.py",
        PACKAGE + "/tracking/detection.py",
        PACKAGE + "/tracking/overlay.py",
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
        PACKAGE + "/tracking/segmentation.py",
        PACKAGE + "/tracking/overlay.py",
        PACKAGE + "/data/coco.py",
        PACKAGE + "/configs/data/coco.yaml",
        PACKAGE + "/configs/data/maskfolder.yaml",
        "tests/segmentation",
        "tests/coco_data.py",
        "tests/test_coco.py",
    ],
}
OPTIONS = {
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
        "data/.gitkeep",
        "runs/.gitkeep",
    ],
    "ci": [".github"],
    "license": ["LICENSE"],
}


def declined(answers):
    """Paths, relative to the project, that nobody asked for."""
    kept = TASKS[answers["task"]]  # some tasks share a file
    names = [name for brought in TASKS.values() for name in brought if name not in kept]
    for option, brought in OPTIONS.items():
        if answers[option] is False or answers[option] == "none":
            names += brought
    return names


def strip(root, answers):
    """Delete below `root` what was declined, and the folders that this empties."""
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
