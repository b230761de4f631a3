"""What the changelog says of a version: ``python tools/release_notes.py v1.2.3``."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def notes(changelog: str, version: str) -> str:
    """The section of a version, without its heading.

    Raises:
        ValueError: if there is none, or nothing in it.
    """
    sections = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    for section in sections:
        heading, _, body = section.partition("\n")
        if heading.split() and heading.split()[0] == version and body.strip():
            return body.strip()
    raise ValueError(f"CHANGELOG.md has no section ## {version}, or nothing in it.")


def main(tag: str) -> int:
    """Print the notes of a tag that agrees with ``pyproject.toml`` and the changelog."""
    version = tag.removeprefix("v")
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if stated != version:
        print(f"The tag is {tag}, but pyproject.toml says {stated}.", file=sys.stderr)
        return 1
    try:
        print(notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
