import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cookiecutter.environment import StrictEnvironment

ROOT = Path(__file__).parents[1]
TEMPLATE = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
OPTIONS = {key: value for key, value in TEMPLATE.items() if not key.startswith("_")}

# Answers that are accepted, with what cookiecutter adds to them.
GOOD = {
    "project_name": "Shape Sorter",
    "project_slug": "shape-sorter",
    "package_name": "shape_sorter",
    "description": "Sorts shapes.",
    "author_name": "Ada",
    "author_email": "ada@example.org",
    "task": "classification",
    "scope": "complete",
    "use_wandb": False,
    "accelerator": "cuda",
    "use_docker": True,
    "ci": "github",
    "license": "MIT",
    "python_version": "3.11",
    "_template": "gh:someone/cookiecutter-lightning-cv",
    **{key: value for key, value in TEMPLATE.items() if key.startswith("_") and not key.startswith("__")},
}


@dataclasses.dataclass(frozen=True)
class Project:
    """A generated project and the answers that made it; its environment may be that of another project."""

    folder: Path
    answers: Mapping[str, Any]
    environment: Path | None = None

    @property
    def package(self) -> Path:
        return self.folder / "src" / str(self.answers["package_name"])

    def files(self) -> Iterator[Path]:
        """All text that generation wrote, in a project that nothing has run in."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return (path for path in found if path.suffix != ".webp")

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def run(self, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project, as its user would."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            # What belongs to the tests' own environment must not leak into the project's.
            if not name.startswith(("WANDB_", "TRAIN_", "PYTEST_", "UV_INTERNAL_"))
            # Without bytecode, each command would compile the whole package.
            and name not in {"VIRTUAL_ENV", "UV", "PYTHONDONTWRITEBYTECODE"}
        }
        if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a core
            inherited["OMP_NUM_THREADS"] = "1"
        # Projects of one environment share what mypy knows of its packages.
        inherited["MYPY_CACHE_DIR"] = str((self.environment or self.folder / ".venv") / "mypy")
        if self.environment:
            inherited |= {"UV_PROJECT_ENVIRONMENT": str(self.environment), "PYTHONPATH": str(self.folder / "src")}
        return subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=inherited | environ,
            capture_output=True,
            text=True,
            check=False,
            encoding="utf-8",
        )


def remember_compiled_templates() -> None:
    """Compile each file of the template once in a session, which is three quarters of the time of a bake."""
    compile_source = StrictEnvironment.compile
    known: dict[tuple[object, ...], Any] = {}

    def compiled(self: StrictEnvironment, source: Any, *args: Any, **options: Any) -> Any:
        key = (self.line_statement_prefix, self.keep_trailing_newline, source, *args, *options.items())
        if key not in known:
            known[key] = compile_source(self, source, *args, **options)
        return known[key]

    StrictEnvironment.compile = compiled


remember_compiled_templates()

Bake = Callable[..., Project]
Load = Callable[..., ModuleType]


@pytest.fixture(scope="session")
def bake(cookies_session: Any, tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """Generate a project; the same answers are baked once in a session.

    The project is shared: tests that write into it ask for ``fresh=True``.
    """
    # cookiecutter leaves rendered hooks in the temporary folder.
    os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("hooks"))
    known: dict[str, Project] = {}

    def baked(*, fresh: bool = False, **answers: Any) -> Project:
        unknown = set(answers) - set(OPTIONS)
        assert not unknown, f"no prompt of the template: {unknown}"  # cookiecutter would drop it without a word
        key = json.dumps(answers, sort_keys=True)
        if fresh or key not in known:
            result = cookies_session.bake(extra_context=answers, template=str(ROOT))
            assert result.exception is None, result.exception
            project = Project(result.project_path, result.context)
            if fresh:
                return project
            known[key] = project
        return known[key]

    return baked


def installed(project: Project) -> Project:
    """Make the project's environment, as its first command would; its tests then run two at a time."""
    for words in (("sync",), ("pip", "install", "--python", ".venv", "pytest-xdist>=3.8")):
        done = project.run("uv", *words, UV_COMPILE_BYTECODE="1")
        assert done.returncode == 0, done.stderr
    return project


def guest(project: Project, host: Project) -> Project:
    """Run a project in the environment of another one, whose packages include its own."""
    return dataclasses.replace(project, environment=host.folder / ".venv")


def require_commit(commit: str) -> None:
    """Skip a test that starts from an earlier commit if this checkout has no such history."""
    words = ("git", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    if subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"This checkout does not contain the commit {commit}. Run: git fetch --unshallow")


@pytest.fixture
def load() -> Load:
    """Render a hook with answers and make a module of it, without running it."""

    def loaded(hook: str, **answers: Any) -> ModuleType:
        context = {"cookiecutter": GOOD | answers}
        environment = StrictEnvironment(context=context, keep_trailing_newline=True, **TEMPLATE["_jinja2_env_vars"])
        source = environment.from_string((ROOT / "hooks" / hook).read_text(encoding="utf-8")).render(**context)
        module = ModuleType(hook)
        exec(compile(source, hook, "exec"), module.__dict__)
        return module

    return loaded


@pytest.fixture(scope="session")
def stripped(bake: Bake) -> Project:
    return installed(bake(fresh=True, use_wandb=False))


@pytest.fixture(scope="session")
def tracked(bake: Bake) -> Project:
    return installed(bake(fresh=True, use_wandb=True))


@pytest.fixture(scope="session")
def detection(bake: Bake) -> Project:
    return installed(bake(fresh=True, task="detection", use_wandb=True))


@pytest.fixture(scope="session")
def segmentation(bake: Bake) -> Project:
    return installed(bake(fresh=True, task="segmentation", use_wandb=True))


@pytest.fixture(scope="session")
def essential(bake: Bake, stripped: Project) -> Project:
    return guest(bake(fresh=True, scope="essential"), stripped)


@pytest.fixture(scope="session")
def essential_detection(bake: Bake, detection: Project) -> Project:
    return guest(bake(fresh=True, scope="essential", task="detection", use_wandb=True), detection)


@pytest.fixture(scope="session")
def essential_segmentation(bake: Bake, segmentation: Project) -> Project:
    return guest(bake(fresh=True, scope="essential", task="segmentation"), segmentation)


# The group of tests to which each of these fixtures belongs, the groups that take longest first.
ENVIRONMENTS = {
    "stripped": "stripped",
    "essential": "stripped",
    "detection": "detection",
    "essential_detection": "detection",
    "segmentation": "segmentation",
    "essential_segmentation": "segmentation",
    "tracked": "tracked",
}


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of one environment, or of one row of the matrix, in one process: ``-n 2 --dist loadgroup``.

    The groups that take longest come first, so that both processes end at about the same time.
    """
    order = [*dict.fromkeys(ENVIRONMENTS.values())]
    ranks: dict[pytest.Item, int] = {}
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        names = [*item.fixturenames, *(value for value in parameters if isinstance(value, str))]
        groups = [ENVIRONMENTS[name] for name in names if name in ENVIRONMENTS]
        rows = [str(value) for value in parameters if isinstance(value, dict)]
        for group in [*groups, *rows][:1]:
            item.add_marker(pytest.mark.xdist_group(group))
        ranks[item] = order.index(groups[0]) if groups else len(order)
    items.sort(key=lambda item: ranks.get(item, len(order)))
