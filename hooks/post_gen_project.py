"""Remove what was declined, by one manifest, then say what to run next."""

import json
import shutil
import sys
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
PACKAGE = "src/" + ANSWERS["package_name"]

# What each option brings. Whole files and folders only: single lines go by conditionals in the files.
MANIFEST = {
    "use_wandb": [
        PACKAGE + "/tracking",
        PACKAGE + "/configs/tracking/wandb.yaml",
        "tests/tracking",
        "docs/tracking.md",
        "sweep.yaml",
    ],
    "use_docker": ["Dockerfile", ".dockerignore", "compose.yaml"],
    "ci": [".github/workflows/ci.yml"],
    "license": ["LICENSE"],
}


def declined(answers):
    """Options answered with no or none."""
    return [option for option in MANIFEST if answers[option] is False or answers[option] == "none"]


def strip(root, answers):
    """Delete the paths of declined options below `root`, and the folders that this empties."""
    for option in declined(answers):
        for name in MANIFEST[option]:
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
