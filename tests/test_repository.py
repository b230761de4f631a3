"""What the repository promises of itself."""

import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import OPTIONS, ROOT, Bake
from workflows import read_yaml, refused, workflow_faults

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    return [line for line in README.splitlines() if line.startswith("python3 -m pip install uv")]


def test_ci_runs_the_command_of_the_readme() -> None:
    assert len(commands()) == 2
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == commands()[1]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["whole"]["steps"][-1]["run"] == ".ci/run"


def test_no_command_to_paste_has_a_placeholder_that_a_shell_takes_for_a_redirection() -> None:
    project = ROOT / "{{cookiecutter.project_slug}}"
    pages = [ROOT / "README.md", project / "README.md", *sorted(project.glob("docs/*.md"))]
    lines = [
        line.partition(" #")[0]
        for page in pages
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for line in block.splitlines()
    ]
    configs = [path.read_text(encoding="utf-8") for path in project.rglob("configs/*.yaml")]
    lines += [line for text in configs for line in text.splitlines() if line.lstrip().startswith("uv run")]
    assert len(lines) > 50
    assert [line for line in lines if re.search("<[a-z]", line)] == []


def test_tracking_uses_no_private_names_of_wandb() -> None:
    """Own names begin with ``self._``; ``._type`` is in W&B's records, and ``._replace`` in named tuples."""
    private = re.compile(r"(?<!\bself)\._(?!type\b|replace\()[a-z]|\bwandb\.sdk\b|\bx_[a-z_]+ *=")
    files = sorted((ROOT / "{{cookiecutter.project_slug}}").rglob("tracking/*.py"))
    assert len(files) > 20
    for code in ("wandb.Api()._sweep", "from wandb.sdk import x", "wandb.Settings(x_primary=True)"):
        assert private.search(code)
    lines = [(path.name, line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if private.search(line[1])] == []


def test_the_readme_explains_every_prompt() -> None:
    table = README[README.index("## The prompts") : README.index("Without questions")]
    assert set(re.findall(r"`([a-z_]+)`", table)) & set(OPTIONS) == set(OPTIONS)


def test_the_readme_generates_a_project_from_a_clone_and_from_a_url(tmp_path: Path) -> None:
    sources = re.findall(r"^uvx cookiecutter@[\d.]+ (\S+)", README, re.MULTILINE)
    here = [
        source.replace("https://HOST/OWNER/cookiecutter-lightning-cv.git", f"file://{ROOT}").replace(
            "path/to/cookiecutter-lightning-cv", str(ROOT)
        )
        for source in sources
    ]
    assert here == [str(ROOT), f"git+file://{ROOT}"]
    for name, source in zip(("clone", "url"), here, strict=True):
        words = ("-m", "cookiecutter", source, "--no-input", "--output-dir", str(tmp_path / name))
        environ = os.environ | {"HOME": str(tmp_path)}  # where cookiecutter keeps the clones that it makes
        subprocess.run([sys.executable, *words], env=environ, check=True, capture_output=True)
        assert (tmp_path / name / "shape-sorter" / "pyproject.toml").is_file()


def test_pictures_and_links_of_the_readme_exist() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).is_file(), target


def test_no_lock_and_no_index_host_is_committed() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    assert not [name for name in files if name.endswith((".lock", "package-lock.json"))]
    hosts = "|".join(("python" + "hosted", "pypi" + r"\.org", "npm" + r"js\.org"))
    for name in filter(None, files):
        content = (ROOT / name).read_bytes()
        assert not re.search(hosts.encode(), content), name


def test_own_workflows_pass_their_checkers() -> None:
    folder = ROOT / ".github"
    workflows = sorted((folder / "workflows").iterdir())
    assert [path.name for path in workflows] == ["ci.yml", "release.yml"]
    for path in workflows:
        assert not workflow_faults(path)
    assert not refused("check-jsonschema", "--builtin-schema", "vendor.dependabot", folder / "dependabot.yml")


def test_dependabot_finds_the_workflows_of_both_layers() -> None:
    for entry in read_yaml(ROOT / ".github" / "dependabot.yml")["updates"]:
        for folder in (name for name in entry.get("directories", []) if name != "/"):
            assert [path for path in (ROOT / folder[1:]).glob("*.yml") if "uses:" in path.read_text(encoding="utf-8")]


def test_own_workflow_runs_each_task_and_waits_for_all() -> None:
    jobs = read_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    assert jobs["project"]["strategy"]["matrix"]["task"] == OPTIONS["task"]
    assert {*jobs["gate"]["needs"]} == {*jobs} - {"gate"}


def test_both_layers_pin_the_same_actions(bake: Bake) -> None:
    found: dict[str, set[str]] = {}
    for folder in (ROOT, bake(use_wandb=True).folder):
        for path in (folder / ".github" / "workflows").iterdir():
            for action, pin in re.findall(r"uses: ([\w/-]+)@(.+)", path.read_text(encoding="utf-8")):
                assert re.fullmatch(r"[0-9a-f]{40} # v[\d.]+", pin), f"{action} in {path}"
                found.setdefault(action, set()).add(pin)
    assert {len(pins) for pins in found.values()} == {1}


def test_a_change_of_a_page_that_a_test_reads_runs_the_tests(bake: Bake) -> None:
    text = (bake().folder / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (skipped,) = re.findall(r"--extended-regexp '(.+)' <<<", text)
    names = ("README.md", "docs/data.md", "src/a.py", "AGENTS.md", "docs/recipes.md", "docs/pictures/a.png")
    assert [name for name in names if re.search(skipped, name)] == [
        "AGENTS.md",
        "docs/recipes.md",
        "docs/pictures/a.png",
    ]


def test_jobs_of_a_project_for_cpus_ask_for_no_gpu(bake: Bake) -> None:
    found = {}
    for accelerator in ("cpu", "cuda"):
        project = bake(accelerator=accelerator, use_wandb=True).folder
        launcher = project / "src" / "shape_sorter" / "configs" / "hydra" / "launcher" / "slurm.yaml"
        files = [*project.glob("slurm/*"), project / "docs" / "clusters.md", launcher]
        texts = [path.read_text(encoding="utf-8") for path in files]
        found[accelerator] = sum(len(re.findall(r"gpus.per.node[:=] ?\d", text)) for text in texts)
    assert found["cpu"] == 0
    assert found["cuda"] >= 4


def test_what_is_copied_unrendered_has_nothing_to_render() -> None:
    template = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    project = ROOT / "{{cookiecutter.project_slug}}"
    names = [path.relative_to(project).as_posix() for path in project.rglob("*.py")]
    syntax = ("{{", *(value for value in template["_jinja2_env_vars"].values() if isinstance(value, str)))
    for pattern in template["_copy_without_render"]:
        copied = fnmatch.filter(names, pattern)
        assert copied, pattern
        for name in copied:
            text = (project / name).read_text(encoding="utf-8")
            assert not [mark for mark in syntax if mark in text], name


def test_no_test_of_a_project_lists_the_settings_of_a_group() -> None:
    # It would break when an owner adds a setting: tests change values of ``composed()``.
    for path in (ROOT / "{{cookiecutter.project_slug}}" / "tests").rglob("*.py"):
        assert not re.search(r"\b[A-Z]\w*Settings\((?!\*\*)", path.read_text(encoding="utf-8")), path
