"""Check every answer before a file is written, then set aside what stands where it would be overwritten."""

import json
import keyword
import os
import re
import shlex
import shutil
import sys
import unicodedata
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
MINIMUM_COOKIECUTTER = (2, 7)
LONGEST = {"project_slug": 64, "package_name": 40}
LONGEST_TEXT = 200
SET_ASIDE = ".set-aside"  # the end of a name until post_gen gives the path its own name back
MARK = "This folder was empty before the project was generated.\n"  # as in post_gen
NOTICE = "HOOKS_DID_NOT_RUN.md"  # a file of the template, which post_gen removes
# Parameters of cookiecutter's command that the line to paste brings itself or cannot have.
NOT_KEPT = {"template", "extra_context", "no_input", "replay", "replay_file"}

# Import names (and, with hyphens, distribution names) that the project itself needs to find.
DEPENDENCIES = {
    *("annotated_types", "av", "faster_coco_eval", "filelock", "hydra", "hydra_core", "hydra_plugins", "hypothesis"),
    *("lightning", "matplotlib", "mypy", "numpy", "omegaconf", "onnx", "onnxruntime", "onnxscript", "optuna", "pil"),
    *("pillow", "pre_commit", "pycocotools", "pydantic", "pydantic_core", "pytest", "pytorch_lightning", "rich"),
    *("ruff", "scipy", "segmentation_models_pytorch", "setuptools", "sqlalchemy", "submitit", "tensorboard", "timm"),
    *("tifffile", "torch", "torchcodec", "torchmetrics", "torchvision", "transformers", "uv", "wandb"),
    *("wandb_workspaces", "yaml"),
    # What these depend on: uv finds no versions for a project of that name, or the import finds the other package.
    *("absl", "absl_py", "aiohappyeyeballs", "aiohttp", "aiosignal", "alembic", "annotated_doc", "antlr4"),
    *("antlr4_python3_runtime", "anyio", "ast_serialize", "attr", "attrs", "certifi", "cfgv", "charset_normalizer"),
    *("click", "cloudpickle", "colorama", "colorlog", "contourpy", "cuda", "cuda_bindings", "cuda_pathfinder"),
    *("cuda_toolkit", "cycler", "dateutil", "distlib", "distro", "flatbuffers", "fonttools", "frozenlist", "fsspec"),
    *("functorch", "git", "gitdb", "gitpython", "google", "greenlet", "grpc", "grpcio", "h11", "hf_xet", "httpcore"),
    *("httpx", "huggingface_hub", "hydra_submitit_launcher", "identify", "idna", "iniconfig", "jinja2", "kiwisolver"),
    *("librt", "lightning_fabric", "lightning_utilities", "mako", "markdown", "markdown_it", "markdown_it_py"),
    *("markupsafe", "mdurl", "ml_dtypes", "mpl_toolkits", "mpmath", "multidict", "mypy_extensions", "networkx"),
    *("nodeenv", "nvidia", "onnx_ir", "packaging", "pathspec", "pip", "pkg_resources", "platformdirs", "pluggy"),
    *("propcache", "protobuf", "psutil", "py", "pygments", "pyparsing", "python_dateutil", "pyyaml", "regex"),
    *("requests", "safetensors", "sentry_sdk", "shellingham", "six", "smmap", "sniffio", "sortedcontainers", "sympy"),
    *("tokenizers", "torchgen", "tqdm", "triton", "truststore", "typer", "types_pyyaml", "typing_extensions"),
    *("typing_inspection", "tzdata", "urllib3", "virtualenv", "werkzeug", "wheel", "xxhash", "yarl"),
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


def portable(text, key, hyphen):
    """The nearest name to `text` that is accepted for the answer `key`."""
    name = re.sub(r"[^a-z0-9]+", hyphen, ascii_of(text).lower()).strip(hyphen)[: LONGEST[key] - 3].rstrip(hyphen)
    if not name:
        return "vision" + hyphen + "project"
    unimportable = key == "package_name" and (name[0].isdigit() or keyword.iskeyword(name))
    return "cv" + hyphen + name if unimportable or taken(name.replace(hyphen, "_")) else name


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
    if not re.fullmatch(r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*", slug):  # the grammar of Docker's image names, too
        return "is no portable folder name: use lower-case ASCII letters, digits and single hyphens between them"
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
        return "holds U+%04X, which is not printable (a control character, a newline or the like)" % ord(bad)
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
    # cookiecutter.json keeps the slug as it was typed and removes slashes from it: cookiecutter has already created the
    # folder, and of several folders it would remove only the last.
    slug = answers.get("__typed_slug", answers["project_slug"])
    reason = slug_problem(slug)
    if reason:
        problems.append(("project_slug", slug, reason, portable(slug, "project_slug", "-")))
    package = answers["package_name"]
    reason = package_problem(package)
    if reason:
        problems.append(("package_name", package, reason, portable(package, "package_name", "_")))
    email = answers["author_email"]
    atom = r"[A-Za-z0-9!#$%&*+/=?^_`{|}~'-]+"
    if not re.fullmatch(atom + r"(\." + atom + r")*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", email):
        problems.append(("author_email", email, "has not the form name@host.domain", "you@example.com"))
    return problems


def literal(text):
    """`text` as cookiecutter must be given it in key=value answers, which it renders as Jinja; ASCII only."""
    if text.isascii() and not set(text) & set("{<#"):
        return text
    return "{" * 2 + " " + ascii(text) + " " + "}" * 2


def command_line(process):
    """The words that started a process; an OSError outside Linux."""
    return Path("/proc/%s/cmdline" % process).read_text(encoding="utf-8").split("\0")[:-1]


def typed():
    """The program and the options as they were typed, or None outside Linux and where Python called cookiecutter."""
    from click import ClickException
    from cookiecutter.cli import main as cookiecutter

    try:
        words = command_line(os.getppid())
        start = [Path(word).name for word in words[:4]].index("cookiecutter") + 1
        program, arguments = words[:start], words[start:]
        given = cookiecutter.make_context("cookiecutter", [*arguments])
        stat = Path("/proc/%d/stat" % os.getppid()).read_text(encoding="utf-8")
        launcher = command_line(stat.rpartition(")")[2].split()[1])
    except (OSError, ValueError, ClickException):
        return None
    if Path(launcher[0]).name in {"uv", "uvx"} and launcher[-len(arguments) :] == arguments:
        program = launcher[: -len(arguments)]
        program = program[2:] if program[1:3] == ["tool", "uvx"] else program  # uvx runs uv tool uvx
    elif "-m" not in program:
        program = program[-1:]
    if shutil.which(Path(program[0]).name) == program[0]:
        program[0] = Path(program[0]).name
    options = []
    for option in cookiecutter.params:
        if option.name not in NOT_KEPT and given.get_parameter_source(option.name).name == "COMMANDLINE":
            name = next((name for name in option.opts if name in arguments), option.opts[0])
            options += [name] if option.is_flag else [name, str(given.params[option.name])]
    if given.params["keep_project_on_failure"]:
        options.append("-f")  # over the folder that is kept, which is empty
    return program, options


def known():
    """The program and the options as far as the answers and the environment tell."""
    program = ["uvx", "cookiecutter@" + cookiecutter_version()[1]] if "UV" in os.environ else ["cookiecutter"]
    options = ["-f"] if any(Path.cwd().iterdir()) else []
    if ANSWERS.get("_checkout"):
        options += ["--checkout", ANSWERS["_checkout"]]
    if ANSWERS.get("_output_dir") not in {None, os.environ.get("PWD")}:
        options += ["--output-dir", ANSWERS["_output_dir"]]
    return program, options


def command(answers, suggestions):
    """One line to paste: the good answers kept, the others replaced."""
    if "_commit" in answers:
        option = "--extra-context (create) or --variables-to-update (update)"
        return "cruft ... %s %s" % (option, shlex.quote(json.dumps({k: literal(v) for k, v in suggestions.items()})))
    program, options = typed() or known()
    words = [*program, answers.get("_template", "."), "--no-input", *options]
    good = {key: str(suggestions.get(key, value)) for key, value in answers.items() if not key.startswith("_")}
    return shlex.join([*words, *(key + "=" + literal(text) for key, text in good.items())])


def shown(text):
    """`text` in ASCII on one line, so that any terminal can print it."""
    quoted = ascii(text)
    return quoted if len(quoted) <= 90 else quoted[:86] + "...'"


def left_out(answers):
    """The paths, relative to the project, of files that are not for these answers."""
    paths = set()
    for options, by_answers in answers["_left_out"].items():
        paths.update(by_answers.get(" ".join(str(answers[option]) for option in options.split()), []))
    return sorted(path.format(**answers) for path in paths)


def of_options(answers):
    """The paths, relative to the project, of all files that some answers leave out."""
    lists = (paths for by_answers in answers["_left_out"].values() for paths in by_answers.values())
    return sorted({path.format(**answers) for paths in lists for path in paths})


def obstacles(root, answers, declined):
    """A line for each path that would stop cookiecutter, or in whose place it would silently write no file."""
    reasons = {}
    if not any(root.iterdir()):  # looking for each file of the template takes time
        return []
    for template in Path(answers.get("_repo_dir") or os.devnull).glob("*cookiecutter.project_slug*"):
        for source in (path for path in template.rglob("*") if path.is_file()):
            parts = source.relative_to(template).parts
            parts = [answers["package_name"] if "cookiecutter.package_name" in part else part for part in parts]
            path = root.joinpath(*parts)
            # A declined path is set aside before cookiecutter writes.
            for folder in (root.joinpath(*parts[:depth]) for depth in range(1, len(parts))):
                if not os.path.lexists(folder) or declined.intersection([folder, *folder.parents]):
                    continue
                if not folder.is_dir():
                    reasons[folder] = "is a file or a link to nothing, but the project has a folder there"
                elif not os.access(folder, os.W_OK):
                    reasons[folder] = "is read-only, but files are written there"
            if path.is_dir() and declined.isdisjoint([path, *path.parents]):
                reasons[path] = "is a folder, but the project has a file there"
    return ["    %s %s" % (path.relative_to(root), reason) for path, reason in sorted(reasons.items())]


def set_aside(root, answers):
    """Rename what stands where cookiecutter writes a file that is left out, or copies one in spite of `-s`.

    post_gen gives each its name back. The file MARK marks a folder that is empty now, and NOTICE stays empty if
    cookiecutter skips files that exist: post_gen cannot know either.
    """
    paths = [root / name for name in left_out(answers)]
    in_the_way = obstacles(root, answers, set(paths))
    interrupted = [aside(root / name) for name in of_options(answers) if os.path.lexists(aside(root / name))]
    for pattern in answers["_copy_without_render"]:
        paths += root.glob(pattern)
        interrupted += root.glob(pattern + SET_ASIDE)
    if interrupted:
        names = ["    %s" % path.relative_to(root) for path in interrupted]
        end = ["", "What has one of their names without %s was written by that generation." % SET_ASIDE]
        return refuse("an interrupted generation set these paths of yours aside. Rename them:", "", *names, *end)
    if in_the_way:
        return refuse("paths are in the way. Move them, and start again:", "", *in_the_way)
    renamed, marks = [], []
    try:
        for path in paths:
            folder = next(folder for folder in path.parents if folder.is_dir())
            if os.path.lexists(path):
                path.rename(aside(path))
                renamed.append(path)
            elif folder != root and not any(folder.iterdir()):
                marks.append(folder / SET_ASIDE)
                marks[-1].write_text(MARK, encoding="utf-8")
        (root / NOTICE).write_text("", encoding="utf-8")
    except OSError as error:
        for path in renamed:
            aside(path).rename(path)
        for path in marks:
            path.unlink(missing_ok=True)
        return refuse(str(error))
    return 0


def aside(path):
    return path.with_name(path.name + SET_ASIDE)


def refuse(*lines):
    """Print why nothing is generated; returns the exit status."""
    encoding = sys.stderr.encoding or "ascii"
    text = "\n".join(["", "-" * 72, "Nothing was generated: %s" % lines[0], *lines[1:], "-" * 72, ""])
    sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    return 1


def main():
    version, version_text = cookiecutter_version()
    if version < MINIMUM_COOKIECUTTER:
        # Before 2.7 a "no" on the command line stays a non-empty string, which counts as yes.
        return refuse(
            "cookiecutter %s is too old (its booleans are wrong), 2.7 or newer is needed." % version_text,
            "    uvx cookiecutter@latest ...    or    pip install --upgrade cookiecutter",
        )
    problems = find_problems(ANSWERS)
    if not problems:
        return set_aside(Path.cwd(), ANSWERS)
    count = "1 answer" if len(problems) == 1 else "%d answers" % len(problems)
    lines = ["%s cannot be used." % count, ""]
    for key, value, reason, suggestion in problems:
        lines += ["  %s = %s" % (key, shown(value)), "    %s" % reason, "    would do: %s" % shown(suggestion), ""]
    suggestions = {key: suggestion for key, _, _, suggestion in problems}
    return refuse(*lines, "Again, with the good answers kept:", "", command(ANSWERS, suggestions))


if __name__ == "__main__":
    sys.exit(main())
