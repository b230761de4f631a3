"""Format the template's Python files, which hold a name that Python cannot parse.

The longest package name that is allowed stands in while ruff works: what fits with it fits with any,
and what ruff wraps for it keeps its trailing comma, so that every generated project is formatted.

    uv run python tools/format_template.py          # rewrite
    uv run python tools/format_template.py --check  # only tell, exit 1 if anything would change
"""

import subprocess
import sys
from pathlib import Path

TEMPLATE = Path(__file__).parents[1] / "{{cookiecutter.project_slug}}"
PLACEHOLDER = "{{ cookiecutter.package_name }}"
LONGEST_NAME = "p" * 40
OPTIONS = ["--isolated", "--no-cache", "--line-length", "100", "--target-version", "py311"]
ISORT = [
    *("--select", "I", "--fix", "--config", f"lint.isort.known-first-party=['{LONGEST_NAME}']"),
    *("--config", "lint.isort.known-local-folder=['coco_data', 'reading', 'small', 'standin', 'tracked']"),
]


def formatted(source: str, name: str) -> str:
    """Sort imports and format, as the generated project's own settings would."""
    return _ruff(["format", *OPTIONS], _ruff(["check", *OPTIONS, *ISORT, "--quiet"], source, name), name)


def _ruff(arguments: list[str], source: str, name: str) -> str:
    done = subprocess.run(
        ["ruff", *arguments, "--stdin-filename", name, "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    return done.stdout


def main() -> int:
    """Format or check every Python file of the template."""
    changed = []
    for path in sorted(TEMPLATE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        # ruff would move blank lines around conditionals; the tests check what they render to
        if "# ~" in source or ".{{ cookiecutter.task }}" in source:
            continue
        name = str(path.relative_to(TEMPLATE)).replace("{{cookiecutter.package_name}}", LONGEST_NAME)
        result = formatted(source.replace(PLACEHOLDER, LONGEST_NAME), name).replace(LONGEST_NAME, PLACEHOLDER)
        if result != source:
            changed.append(path)
            if "--check" not in sys.argv:
                path.write_text(result, encoding="utf-8")
    for path in changed:
        print(path.relative_to(TEMPLATE))
    return 1 if changed and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
