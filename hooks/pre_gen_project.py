"""Check every answer before a file is written, and report all problems at once."""

import json
import keyword
import re
import shlex
import sys
import unicodedata

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
MINIMUM_COOKIECUTTER = (2, 7)
LONGEST = {"project_slug": 64, "package_name": 40}
LONGEST_TEXT = 200

# Import names (and, with hyphens, distribution names) that the project itself needs to find.
DEPENDENCIES = {
    *("annotated_types", "av", "faster_coco_eval", "filelock", "hydra", "hydra_core", "hydra_plugins", "hypothesis"),
    *("lightning", "matplotlib", "mypy", "numpy", "omegaconf", "onnx", "onnxruntime", "onnxscript", "optuna", "pil"),
    *("pillow", "pre_commit", "pycocotools", "pydantic", "pydantic_core", "pytest", "pytorch_lightning", "rich"),
    *("ruff", "scipy", "segmentation_models_pytorch", "setuptools", "sqlalchemy", "submitit", "tensorboard", "timm"),
    *("torch", "torchcodec", "torchmetrics", "torchvision", "transformers", "uv", "wandb", "yaml"),
}
# Folders, scripts and modules that the project brings.
OWN_NAMES = {
    *("conf", "configs", "data", "docs", "evaluate", "predict", "runs", "src", "test", "tests", "train"),
    *("coco_data", "conftest", "reading", "small", "tracked"),  # modules of the tests
}
WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}
# Marks that reorder the text around them: code would not read as it runs.
BIDI_CONTROLS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}


def cookiecutter_version():
    """The running cookiecutter as a tuple; hooks run in its own interpreter."""
    from cookiecutter import __version__

    return tuple(int(part) for part in re.findall(r"\d+", __version__)[:2]), __version__


def unprintable(text):
    """The first character of `text` that a config file or a source file cannot hold, or None."""
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cn", "Co", "Cs", "Zl", "Zp"} or ord(character) in BIDI_CONTROLS:
            return character
    return None


def importable(text):
    """The nearest portable package name to `text`."""
    name = re.sub(r"[^a-z0-9]+", "_", ascii_of(text).lower()).strip("_")[: LONGEST["package_name"]].rstrip("_")
    if not name or name[0].isdigit() or taken(name) or keyword.iskeyword(name):
        name = f"cv_{name}" if name else "vision_project"
    return name


def folder(text):
    """The nearest portable folder name to `text`."""
    name = re.sub(r"[^a-z0-9]+", "-", ascii_of(text).lower()).strip("-")[: LONGEST["project_slug"]].rstrip("-")
    if not name or taken(name.replace("-", "_")):
        name = f"cv-{name}" if name else "vision-project"
    return name


def ascii_of(text):
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def taken(name):
    """Why an import by this name would find something else, or an empty string."""
    name = name.lower()
    if name in DEPENDENCIES:
        return "is a package that the project depends on"
    if name in {module.lower() for module in sys.stdlib_module_names}:
        return "is a module of Python's standard library"
    if name in OWN_NAMES:
        return "is a folder or a command of the project itself"
    if name in WINDOWS_DEVICES:
        return "is a device name on Windows"
    return ""


def slug_problem(slug):
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", slug):
        return "is no portable folder name: use lower-case ASCII letters, digits and hyphens, no hyphen at the ends"
    if len(slug) > LONGEST["project_slug"]:
        return "is longer than %d characters" % LONGEST["project_slug"]
    return taken(re.sub(r"[-_.]+", "_", slug)) or taken(slug.split(".")[0])


def package_problem(name):
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return "is no importable identifier: use ASCII letters, digits and underscores, no digit first"
    if name.startswith("_"):
        return "starts with an underscore, which marks a private module"
    if keyword.iskeyword(name) or keyword.iskeyword(name.lower()):
        return "is a keyword of Python"
    if len(name) > LONGEST["package_name"]:
        return "is longer than %d characters" % LONGEST["package_name"]
    return taken(name)


def text_problem(text):
    bad = unprintable(text)
    if bad is not None:
        return "holds the character U+%04X, which is not printable (a control character, a newline or the like)" % ord(
            bad
        )
    if not text.strip():
        return "is empty"
    if len(text) > LONGEST_TEXT:
        return "is longer than %d characters" % LONGEST_TEXT
    return ""


def printable(text, fallback):
    cleaned = "".join(" " if unprintable(c) else c for c in text)
    return " ".join(cleaned.split())[:LONGEST_TEXT].strip() or fallback


def find_problems(answers):
    """List (key, value, reason, suggestion) for each answer that cannot be used."""
    problems = []
    for key, fallback in (
        ("project_name", "Vision Project"),
        ("description", "Computer vision with PyTorch Lightning."),
        ("author_name", "Your Name"),
    ):
        reason = text_problem(answers[key])
        if reason:
            problems.append((key, answers[key], reason, printable(answers[key], fallback)))
    reason = slug_problem(answers["project_slug"])
    if reason:
        problems.append(("project_slug", answers["project_slug"], reason, folder(answers["project_slug"])))
    reason = package_problem(answers["package_name"])
    if reason:
        problems.append(("package_name", answers["package_name"], reason, importable(answers["package_name"])))
    email = answers["author_email"]
    if not re.fullmatch(r"[A-Za-z0-9.!#$%&*+/=?^_`{|}~'-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", email):
        problems.append(("author_email", email, "has not the form name@host.domain", "you@example.com"))
    return problems


def command(answers, suggestions):
    """One line to paste: the good answers kept, the others replaced."""
    words = ["cookiecutter", shlex.quote(answers.get("_template", ".")), "--no-input"]
    for key, value in answers.items():
        if key.startswith("_"):
            continue
        text = str(suggestions.get(key, value))
        # cookiecutter renders key=value answers as Jinja; this keeps braces as they were typed.
        text = text.replace("{" * 2, "{" * 2 + " '" + "{" * 2 + "' " + "}" * 2)
        words.append(shlex.quote(f"{key}={text}"))
    return " ".join(words)


def shown(text):
    """`text` in ASCII on one line, so that any terminal can print it."""
    quoted = ascii(text)
    return quoted if len(quoted) <= 90 else quoted[:86] + "...'"


def main():
    version, version_text = cookiecutter_version()
    if version < MINIMUM_COOKIECUTTER:
        # Before 2.7 a "no" on the command line stays a non-empty string, which counts as yes.
        sys.stderr.write(
            "\nNothing was generated: cookiecutter %s is too old (its booleans are wrong), 2.7 or newer is needed.\n"
            "    uvx cookiecutter@latest ...    or    pip install --upgrade cookiecutter\n\n" % version_text
        )
        return 1
    problems = find_problems(ANSWERS)
    if not problems:
        return 0
    count = "1 answer" if len(problems) == 1 else "%d answers" % len(problems)
    lines = ["", "-" * 72, "Nothing was generated: %s cannot be used." % count, ""]
    for key, value, reason, suggestion in problems:
        lines += ["  %s = %s" % (key, shown(value)), "    %s" % reason, "    would do: %s" % shown(suggestion), ""]
    suggestions = {key: suggestion for key, _, _, suggestion in problems}
    lines += ["Again, with the good answers kept:", "", command(ANSWERS, suggestions), "-" * 72, ""]
    encoding = sys.stderr.encoding or "ascii"
    sys.stderr.write("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding) + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
