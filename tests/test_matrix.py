"""Every row of the option matrix, baked and checked without running it."""

import ast
import graphlib
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import OPTIONS, ROOT, Bake, Project
from matrix import ESSENTIAL_TRACES, SHARED_TRACES, TASK_TRACES, TRACES, choices, declinable, name, rows
from workflows import read_yaml, refused, refused_file, workflow_faults

ROWS = rows()


@pytest.fixture(params=ROWS, ids=[name(row) for row in ROWS], scope="module")
def project(request: pytest.FixtureRequest, bake: Bake) -> Project:
    return bake(**request.param)


def is_off(project: Project, option: str) -> bool:
    return bool(project.answers[option] == declinable()[option])


def test_nothing_of_the_template_is_left_over(project: Project) -> None:
    for path in project.files():
        text = path.read_text(encoding="utf-8")
        for left in ("cookiecutter.", "<!--%", "%-->", "# ~ ", "{%"):
            assert left not in text, f"{left} in {path}"
        assert "cookiecutter" not in str(path.relative_to(project.folder))


def test_what_is_declined_leaves_no_trace(project: Project) -> None:
    for option in filter(lambda option: is_off(project, option), TRACES):
        pattern = re.compile(TRACES[option], re.IGNORECASE)
        for path in project.files():
            assert not pattern.search(str(path.relative_to(project.folder))), path
            found = pattern.search(path.read_text(encoding="utf-8"))
            assert not found, f"{found} in {path}"
    lacking = re.compile(ESSENTIAL_TRACES[str(project.answers["task"])], re.IGNORECASE)
    for path in project.files() if is_off(project, "scope") else []:
        assert not lacking.search(str(path.relative_to(project.folder))), path
        assert not lacking.search(path.read_text(encoding="utf-8")), path
    in_depth = not is_off(project, "use_wandb") and not is_off(project, "scope")
    assert bool([*project.folder.rglob("*.webp")]) is in_depth  # pictures of a run


def test_other_tasks_leave_no_trace(project: Project) -> None:
    for task in set(OPTIONS["task"]) - {project.answers["task"]}:
        pattern = re.compile(TASK_TRACES[task], re.IGNORECASE)
        for path in project.files():
            assert not pattern.search(str(path.relative_to(project.folder))), path
            found = pattern.search(path.read_text(encoding="utf-8"))
            assert not found, f"{found} in {path}"
    for words, tasks in SHARED_TRACES.items():
        pattern = re.compile(words, re.IGNORECASE)
        if project.answers["task"] not in tasks:
            for path in project.files():
                assert not pattern.search(str(path.relative_to(project.folder))), path
                assert not pattern.search(path.read_text(encoding="utf-8")), path
    assert re.search(TASK_TRACES[str(project.answers["task"])], project.text("README.md"), re.IGNORECASE)


def test_what_is_asked_for_is_there(project: Project) -> None:
    text = "\n".join(str(path) + path.read_text(encoding="utf-8") for path in project.files())
    for option in TRACES:
        if not is_off(project, option):
            assert re.search(TRACES[option], text, re.IGNORECASE), option


def test_no_folder_is_empty(project: Project) -> None:
    for path in project.folder.rglob("*"):
        assert not path.is_dir() or any(path.iterdir()), path


def test_links_between_pages_lead_to_files(project: Project) -> None:
    for page in [*project.folder.glob("*.md"), *project.folder.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{target} in {page}"


def test_code_blocks_and_paragraphs_of_pages_end_where_they_should(project: Project) -> None:
    for page in [*project.folder.glob("*.md"), *project.folder.glob("docs/*.md")]:
        blocks = re.split(r"^ *```(?:\w*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert len(blocks) % 2, f"{page} has a code block that is not closed"
        assert not any("```" in block for block in blocks), page
        for text in blocks[::2]:  # outside of code, a line of more than 250 characters is a paragraph
            joined = re.search(r"^\w.{250,}\n[\w*`(!-].*|^\w.*\n\w.{250,}", text, flags=re.MULTILINE)
            assert not joined, f"{page}: {joined}"


def test_files_end_with_one_newline_and_lines_without_blanks(project: Project) -> None:
    for path in project.files():
        content = path.read_bytes()
        assert b"\r" not in content, path
        assert content == b"" or content.rstrip(b"\n") + b"\n" == content, path
        assert not re.search(rb"[ \t]\n", content), path
        assert path.suffix == ".py" or b"\n\n\n" not in content, path


def test_configs_can_be_read(project: Project) -> None:
    for path in project.files():
        text = path.read_text(encoding="utf-8")
        if path.suffix in {".yaml", ".yml"}:
            yaml.safe_load(text)
        elif path.suffix == ".toml":
            tomllib.loads(text)
        elif path.suffix == ".json":
            json.loads(text)


def test_python_is_formatted_clean_and_compiles(project: Project) -> None:
    assert not refused("ruff", "check", "--no-cache", project.folder)
    assert not refused("ruff", "format", "--no-cache", "--diff", project.folder)
    oldest = int(str(project.answers["python_version"]).split(".")[1])
    for path in project.files():
        if path.suffix == ".py":
            ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, oldest))


# Packages whose name on the index is not the one that is imported.
DISTRIBUTIONS = {"PIL": "pillow", "hydra": "hydra-core", "pydantic_core": "pydantic", "yaml": "pyyaml"}


def imported_modules(folder: Path) -> set[str]:
    """Name the modules that the Python files of a folder import, without those of Python and relative ones."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names


def distributions(modules: set[str]) -> set[str]:
    """Name the packages of modules as the index does."""
    return {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in modules}


def required(*lists: list[str]) -> set[str]:
    """Name the packages of lists of requirements."""
    return {re.split(r"[^\w-]", requirement)[0] for requirements in lists for requirement in requirements}


def test_what_is_imported_is_declared_and_what_is_required_is_imported(project: Project) -> None:
    content: dict[str, Any] = tomllib.loads(project.text("pyproject.toml"))
    always = required(content["project"]["dependencies"])
    extras = required(*content["project"].get("optional-dependencies", {}).values())
    code = distributions(imported_modules(project.package))
    assert code <= always | extras
    assert always <= code
    own = {project.package.name, *(path.stem for path in (project.folder / "tests").rglob("*"))}
    tests = distributions(imported_modules(project.folder / "tests") - own)
    assert tests <= always | required(content["dependency-groups"]["dev"])
    assert extras <= required(content["dependency-groups"]["dev"]), "the tests of a development environment use them"


def test_its_types_can_be_used_by_others(project: Project) -> None:
    assert (project.package / "py.typed").is_file()


def test_only_tracking_names_its_service(project: Project) -> None:
    allowed = ("tracking",)
    for path in project.package.rglob("*.py"):
        if "import wandb" in path.read_text(encoding="utf-8"):
            assert path.relative_to(project.package).parts[0] in allowed, path


def test_entries_and_modules_of_the_package_import_each_other_in_one_direction(project: Project) -> None:
    entries: dict[str, set[str]] = {}
    modules: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for path in project.package.rglob("*.py"):
        *folders, _ = place = path.relative_to(project.package).with_suffix("").parts
        imported = modules.setdefault(place, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = [*folders[: len(folders) - node.level + 1], *(node.module or "").split(".")]
                found = tuple(filter(None, base))
                within = {(*found, alias.name) for alias in node.names}
                names = {name for name in within if project.package.joinpath(*name).with_suffix(".py").is_file()}
                imported |= names or ({found} - {()})
        entries.setdefault(place[0], set()).update({name[0] for name in imported} - {place[0]})
    for imports in (entries, modules):
        graphlib.TopologicalSorter(imports).prepare()  # raises CycleError


def test_the_licence_is_the_one_chosen(project: Project) -> None:
    chosen = project.answers["license"]
    metadata = tomllib.loads(project.text("pyproject.toml"))["project"]
    if chosen == "none":
        assert "license" not in metadata
        return
    heads = {"MIT": "MIT License", "Apache-2.0": "Apache License", "BSD-3-Clause": "BSD 3-Clause License"}
    assert project.text("LICENSE").lstrip().startswith(heads[chosen])
    assert project.answers["author_name"] in project.text("LICENSE")
    assert metadata["license"] == chosen


def test_workflows_pass_their_checkers(project: Project) -> None:
    folder = project.folder / ".github"
    if is_off(project, "ci"):
        assert not folder.exists()
        return
    workflows = sorted((folder / "workflows").iterdir())
    in_depth = not is_off(project, "use_wandb") and not is_off(project, "scope")
    assert [path.name for path in workflows] == ["ci.yml", "train.yml"][: 2 if in_depth else 1]
    for path in workflows:
        assert not workflow_faults(path)
    assert not refused_file(folder / "dependabot.yml", "check-jsonschema", "--builtin-schema", "vendor.dependabot")
    ecosystems = [one["package-ecosystem"] for one in read_yaml(folder / "dependabot.yml")["updates"]]
    assert ecosystems == ["github-actions", "uv", "docker"][: 2 if is_off(project, "use_docker") else 3]


def test_one_job_of_the_checks_waits_for_all_others(project: Project) -> None:
    if is_off(project, "ci"):
        return
    workflow = read_yaml(project.folder / ".github" / "workflows" / "ci.yml")
    jobs = workflow["jobs"]
    assert {*jobs["gate"]["needs"]} == {*jobs} - {"gate"}
    assert jobs["gate"]["if"] == "always()"
    assert ("image" in jobs) is not is_off(project, "use_docker")
    assert workflow["permissions"] == {}
    assert all("timeout-minutes" in job for job in jobs.values())
    tests = jobs["tests"]["strategy"]["matrix"]["include"]
    oldest = str(project.answers["python_version"])
    assert {(one["python"], one["resolution"]) for one in tests} == {
        (oldest, "highest"),
        ("3.13", "highest"),
        (oldest, "lowest-direct"),
    }


def test_containers_pass_their_checkers(project: Project) -> None:
    if is_off(project, "use_docker"):
        assert not (project.folder / "Dockerfile").exists()
        return
    assert not refused_file(project.folder / "Dockerfile", "hadolint")
    compose = project.folder / "compose.yaml"
    assert not refused_file(compose, "check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    services = read_yaml(compose)["services"]
    assert ("train-gpu" in services) is (project.answers["accelerator"] == "cuda")
    opened = json.loads(project.text(".devcontainer/devcontainer.json"))
    assert opened["name"] == project.answers["project_name"]
    assert f"AS {opened['build']['target']}\n" in project.text("Dockerfile")
    assert ("hostRequirements" in opened) is ("train-gpu" in services)


def test_a_dockerfile_runs_in_podman_too(project: Project) -> None:
    if is_off(project, "use_docker"):
        return
    text = project.text("Dockerfile")
    for unknown in ("# syntax=", "<<", "--link", "--exclude", "--parents"):
        assert unknown not in text
    assert all(target.startswith("/") for target in re.findall(r"target=([^, ]+)", text))
    users = re.findall(r"^USER (.+)$", text, flags=re.MULTILINE)
    assert users
    assert all(re.fullmatch(r"\d+:\d+", user) for user in users)


def test_torch_without_cuda_comes_from_an_index_for_nothing_else(project: Project) -> None:
    uv = tomllib.loads(project.text("pyproject.toml"))["tool"].get("uv", {})
    if project.answers["accelerator"] == "cuda":
        assert not uv
        return
    (index,) = uv["index"]
    assert index["explicit"] is True
    assert uv["sources"].keys() == {"torch", "torchcodec", "torchvision"}
    assert {source["index"] for source in uv["sources"].values()} == {index["name"]}


def test_the_modules_that_the_sorting_of_imports_names_exist(project: Project) -> None:
    sorting = tomllib.loads(project.text("pyproject.toml"))["tool"]["ruff"]["lint"]["isort"]
    for module in sorting["known-local-folder"]:
        assert [*(project.folder / "tests").rglob(f"{module}.py")], module


def test_key_and_address_are_handed_on_only_where_they_are_wanted(project: Project) -> None:
    if is_off(project, "use_wandb"):
        return
    assert "WANDB_BASE_URL=https://" in project.text(".env.example")
    if not is_off(project, "use_docker"):
        passed_on = yaml.safe_load(project.text("compose.yaml"))["services"]["train"]["environment"]
        assert {"WANDB_API_KEY", "WANDB_BASE_URL"} <= {*passed_on}
        assert "WANDB" not in project.text("Dockerfile")
    if not is_off(project, "ci"):
        assert "WANDB" not in project.text(".github/workflows/ci.yml")
    if not is_off(project, "ci") and not is_off(project, "scope"):
        steps = read_yaml(project.folder / ".github" / "workflows" / "train.yml")["jobs"]["train"]["steps"]
        with_key = [step["name"] for step in steps if "secrets.WANDB_API_KEY" in str(step)]
        assert with_key == ["Say so where there is no key", "Train"]
        (train,) = [step for step in steps if step.get("name") == "Train"]
        assert train["env"]["WANDB_BASE_URL"] == "${{ vars.WANDB_BASE_URL }}"


@pytest.mark.parametrize(
    ("checker", "file", "good", "bad"),
    [
        (
            ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
            ".github/workflows/ci.yml",
            "steps:",
            "stepz:",
        ),
        (
            ["zizmor", "--offline", "--no-progress"],
            ".github/workflows/ci.yml",
            "@3d3c42e5aac5ba805825da76410c181273ba90b1",
            "@main",
        ),
        (
            ["check-jsonschema", "--builtin-schema", "vendor.dependabot"],
            ".github/dependabot.yml",
            "github-actions",
            "github-action",
        ),
        (["check-jsonschema", "--builtin-schema", "vendor.compose-spec"], "compose.yaml", "shm_size", "shmsize"),
        (["hadolint"], "Dockerfile", "WORKDIR /workspace", "WORKDIR workspace"),
        (
            ["ruff", "check", "--no-cache"],
            "src/shape_sorter/errors.py",
            "class UsageError",
            "import csv, json\nclass UsageError",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_checker_finds_a_planted_fault(
    bake: Bake, tmp_path: Path, checker: list[str], file: str, good: str, bad: str
) -> None:
    text = bake().text(file)
    assert good in text
    planted = (
        tmp_path / ".github" / "workflows" / Path(file).name if "workflows" in file else tmp_path / Path(file).name
    )
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(text.replace(good, bad), encoding="utf-8")
    assert refused(*checker, planted)


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("    timeout-minutes: 15", "    timeoutminutes: 15", "timeoutminutes"),
        ("- run: uv sync\n", "- run: uv sync\n        shel: bash\n", "shel"),
        ("if: always()", "if: allways()", "allways"),
        ("if: always()", "if: github.ref = 'main'", "Validation Error"),
        ("${{ matrix.python }}, ", "${{ matrix.pyhton }}, ", "matrix.pyhton"),
        ("needs: changes", "needs: change", "change"),
        ("needs.changes.outputs.code", "needs.changed.outputs.code", "needs.changed"),
        ("steps.files.outputs.code", "steps.file.outputs.code", "steps.file"),
        ("outputs.code == 'true'", "outputs.cod == 'true'", "outputs.cod"),
        ("pull_request:", "pull_requests:", "pull_requests"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("git diff --name-only", "echo '${{ github.head_ref }}'; git diff --name-only", "template-injection"),
    ],
)
def test_a_fault_planted_in_a_workflow_is_found(bake: Bake, tmp_path: Path, good: str, bad: str, said: str) -> None:
    text = bake().text(".github/workflows/ci.yml")
    assert good in text
    planted = tmp_path / ".github" / "workflows" / "ci.yml"
    planted.parent.mkdir(parents=True)
    planted.write_text(text.replace(good, bad, 1), encoding="utf-8")
    assert said in workflow_faults(planted)


def test_the_matrix_holds_every_answer_and_every_pair() -> None:
    options = choices()
    full = [{key: values[0] for key, values in options.items()} | row for row in ROWS]
    for one, values in options.items():
        for value in values:
            for two in set(options) - {one}:
                assert {row[two] for row in full if row[one] == value} == {*options[two]}
    assert {*declinable()} == {*TRACES}, "each option that can be declined needs words to search for"


def test_prompts_have_a_label_each_and_no_square_brackets() -> None:
    prompts = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))["__prompts__"]
    assert list(prompts) == list(OPTIONS)
    for key, label in prompts.items():
        lines = label.values() if isinstance(label, dict) else [label]
        assert all("[" not in line for line in lines)  # rich would take them for markup
        if isinstance(label, dict):
            assert set(label) - {"__prompt__"} == set(OPTIONS[key])


def test_the_template_itself_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert not refused("python", "tools/format_template.py", "--check")
    assert not refused("ruff", "check", "--no-cache", "hooks", "tests", "tools")
    assert not refused("ruff", "format", "--no-cache", "--check", "hooks", "tests", "tools")
    assert not refused("mypy")


def test_no_row_is_left_out() -> None:
    assert len(ROWS) > 15
