"""What the repository promises of itself."""

import re
import subprocess

import yaml
from conftest import OPTIONS, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    return [line for line in README.splitlines() if line.startswith("python3 -m pip install uv")]


def test_ci_runs_the_command_of_the_readme() -> None:
    assert len(commands()) == 2
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == commands()[1]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["whole"]["steps"][-1]["run"] == ".ci/run"


def test_the_readme_explains_every_prompt() -> None:
    table = README[README.index("## The prompts") : README.index("Without questions")]
    assert set(re.findall(r"`([a-z_]+)`", table)) & set(OPTIONS) == set(OPTIONS)


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
    workflows = ROOT / ".github" / "workflows"
    schema = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"]
    for words in (
        [*schema, *map(str, workflows.glob("*.yml"))],
        ["zizmor", "--offline", "--no-progress", str(workflows)],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
