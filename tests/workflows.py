"""What is wrong with a workflow: the schema, the security, the syntax, and names that nothing has."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml


def refused(*words: str | Path) -> str:
    """What a checker says, or nothing if it is content."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr or f"exit {done.returncode}"


CHECKED: set[tuple[str, ...]] = set()  # commands and texts that passed: projects share many of their files


def refused_file(path: Path, *words: str) -> str:
    """What a checker says of a file, unless it has passed a file of this name and text already."""
    check = (*words, path.name, path.read_text(encoding="utf-8"))
    said = "" if check in CHECKED else refused(*words, path)
    if not said:
        CHECKED.add(check)
    return said


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def workflow_faults(path: Path) -> str:
    """All that the checkers say of a file below ``.github/workflows``; nothing if they are content."""
    return "\n".join(
        said
        for said in (
            refused_file(path, "check-jsonschema", "--builtin-schema", "vendor.github-workflows"),
            refused_file(path, "zizmor", "--offline", "--no-progress"),
            refused_file(path, "act", "--validate", "--strict", "--workflows"),
            *unknown_names(read_yaml(path)),
        )
        if said
    )


def unknown_names(workflow: Any) -> list[str]:
    """Jobs, steps, outputs and matrix keys that are asked for and not there: no checker at hand looks for them."""
    found = []
    jobs = workflow["jobs"]
    for name, job in jobs.items():
        needs = job.get("needs", [])
        needs = [needs] if isinstance(needs, str) else needs
        matrix = job.get("strategy", {}).get("matrix", {})
        keys = {*matrix, *(key for row in matrix.get("include", []) for key in row)} - {"include", "exclude"}
        steps = {step["id"] for step in job["steps"] if "id" in step}
        found += [f"{name}: needs: {need}" for need in needs if need not in jobs]
        text = str(job)
        found += [f"{name}: matrix.{key}" for key in re.findall(r"\bmatrix\.([\w-]+)", text) if key not in keys]
        found += [f"{name}: steps.{step}" for step in re.findall(r"\bsteps\.([\w-]+)", text) if step not in steps]
        for need, output in re.findall(r"\bneeds\.([\w-]+)(?:\.outputs\.([\w-]+))?", text):
            if need not in needs:
                found.append(f"{name}: needs.{need}")
            elif output and output not in jobs[need].get("outputs", {}):
                found.append(f"{name}: needs.{need}.outputs.{output}")
    return found
