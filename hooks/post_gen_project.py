"""Remove the files that are not for the answers, put back what pre_gen set aside, and print the next commands."""

import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
SET_ASIDE = ".set-aside"  # as in pre_gen
MARK = "This folder was empty before the project was generated.\n"
NOTICE = "HOOKS_DID_NOT_RUN.md"


def left_out(answers):
    """The paths, relative to the project, of files that are not for these answers."""
    paths = set()
    for options, by_answers in answers["_left_out"].items():
        paths.update(by_answers.get(" ".join(str(answers[option]) for option in options.split()), []))
    return sorted(path.format(**answers) for path in paths)


def aside(path):
    return path.with_name(path.name + SET_ASIDE)


def strip(root, answers):
    """Delete the files that are left out, and the folders that this empties. What stood in their place is set aside."""
    paths = [root / name for name in left_out(answers)]
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == root or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()
    for path in paths:
        for parent in path.relative_to(root).parents:
            mark = root / parent / SET_ASIDE
            if mark.is_file() and mark.read_bytes() == MARK.encode():
                mark.unlink()


def put_back(root, answers):
    """Give what was set aside its name back; returns the paths of it that are left out."""
    notice = root / NOTICE
    skipped = notice.is_file() and notice.stat().st_size == 0  # cookiecutter -s left the file of pre_gen as it was
    notice.unlink(missing_ok=True)
    names = [name for name in left_out(answers) if os.path.lexists(aside(root / name))]
    for pattern in answers["_copy_without_render"]:
        for path in root.glob(pattern + SET_ASIDE):
            original = path.with_name(path.name.removesuffix(SET_ASIDE))
            if skipped or not original.exists():
                path.replace(original)
            else:
                path.unlink()
    for name in names:
        if os.path.lexists(aside(root / name)):
            aside(root / name).rename(root / name)
    return names


def next_commands(folder, answers):
    """The commands to type next, each with a comment, from the folder that the user is in."""
    shell = Path(os.environ.get("PWD", os.devnull)).resolve()  # without PWD (Windows): in no folder
    if folder != shell:
        below = folder.is_relative_to(shell)
        yield "cd " + shlex.quote(str(folder.relative_to(shell) if below else folder)), ""
    if answers["use_wandb"]:
        yield "uv run wandb login", "once; runs are recorded on this machine until then"
    yield "uv run train", "trains on generated images; the pictures are in runs/"
    yield "uv run pytest", "the project's own tests"


def main():
    folder = Path.cwd()
    strip(folder, ANSWERS)
    names = put_back(folder, ANSWERS)
    if "_commit" in ANSWERS and folder.is_relative_to(Path(tempfile.gettempdir()).resolve()):
        return 0  # cruft update generates projects to compare them
    sys.stdout.reconfigure(errors="backslashreplace")
    if names:
        print("\nThese paths belong to options that you declined. They stood here before and are unchanged:\n")
        print("\n".join("    " + name for name in names))
    print("\nYour project is in %s. Next:\n" % ANSWERS["project_slug"])
    for command, comment in next_commands(folder, ANSWERS):
        print(("    %-20s # %s" % (command, comment)) if comment else "    " + command)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
