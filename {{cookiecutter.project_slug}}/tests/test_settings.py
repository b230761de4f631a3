import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml
from pydantic import ValidationError

from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.run.processes import RUN_ID
from {{ cookiecutter.package_name }}.settings import hydra_launch
from {{ cookiecutter.package_name }}.settings.check_settings import (
    check,
    fields,
    flattened,
    problems,
    resolved,
)
from {{ cookiecutter.package_name }}.settings.schema import PredictSettings, Settings
# ~ if cookiecutter.use_wandb
from {{ cookiecutter.package_name }}.settings.stored_settings import (
    CONFIGS,
    completed,
    overridden,
    resumed_settings,
    without_presets,
)
from {{ cookiecutter.package_name }}.settings.tracking import tracker_fields

# ~ else
from {{ cookiecutter.package_name }}.settings.stored_settings import (
    CONFIGS,
    completed,
    overridden,
    resumed_settings,
    without_presets,
)

# ~ endif
from small import OWN, composed

ROOT = Path(__file__).parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
GROUPS = sorted(
    (folder.name, file.stem)
    for folder in CONFIGS.iterdir()
    if folder.is_dir()
    for file in folder.glob("*.yaml")
)


@pytest.fixture(autouse=True)
def _run_id(monkeypatch):
    monkeypatch.setenv(RUN_ID, "a-run")


def settings(*overrides):
    return check(composed(*overrides), Settings)


@pytest.mark.parametrize(("group", "preset"), GROUPS)
def test_every_preset_makes_valid_settings(group, preset):
    assert settings(f"{group}={preset}", "data.root=somewhere")


def test_the_defaults_are_valid_as_stored():
    chosen = settings()
    assert check(composed(), Settings) == chosen
    stored = yaml.safe_load(yaml.safe_dump(chosen.model_dump(mode="json", by_alias=True)))
    assert Settings.model_validate(stored) == chosen


def test_all_mistakes_are_reported_together():
    with pytest.raises(UsageError) as caught:
        settings(
            *("optimizer.lr=-1", "++model.bakbone=resnet50", "trainer.max_epochs=many"),
            *("++dta=shapes", "++optimizer.int=1"),
        )
    message = str(caught.value)
    assert "5 settings are wrong" in message
    assert "optimizer.int " in message
    assert "model.bakbone" in message
    assert "did you mean model.backbone?" in message
    assert "dta" in message
    assert "did you mean data?" in message
    assert "greater than 0" in message
    assert "trainer.max_epochs" in message


def test_a_value_that_is_wrong_for_several_reasons_is_one_mistake():
    with pytest.raises(UsageError, match=r"(?s)^1 setting is wrong:.*loader\.workers +\S.*; or: "):
        settings("loader.workers=[x]")


def test_a_setting_without_a_value_says_where_to_write_it():
    with pytest.raises(UsageError, match=r"(?s)1 setting is .*optimizer\.lr +is missing: .*base"):
        settings("~optimizer.lr")


def test_presets_in_a_folder_of_the_user_are_read(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 77\n")
    words = ["--config-dir", str(tmp_path), "--cfg", "job", "experiment=mine"]
    assert "seed: 77" in run(*words, folder=tmp_path).stdout


def test_a_setting_in_the_wrong_group_gets_a_suggestion():
    with pytest.raises(UsageError, match=r"did you mean optimizer\.lr\?"):
        settings("++lr=0.1")
    with pytest.raises(UsageError, match=r"did you mean trainer\.max_epochs\?"):
        settings("++epochs=3")


@pytest.mark.parametrize(
    "text", ["photo (1).jpg", "[a-z]+", r"a\(b", "C:\\new\\", " a ", "a,b", "it's", "${runs}/a"]
)
def test_a_text_reaches_hydra_as_it_was_typed(text):
    word = hydra_launch._hydra_word(f"source={text}", multirun=False)
    assert composed(word, name="predict").source == text.replace("${runs}", "runs")


def test_a_path_reaches_the_runs_of_a_multirun_as_it_was_typed():
    word = hydra_launch._hydra_word("data.root=/a=b (1)", multirun=True)
    assert composed(OWN, word).data.root == "/a=b (1)"


def test_a_setting_of_another_data_preset_is_refused():
    with pytest.raises(UsageError, match=r"data\.train_images\s+is not a setting of data="):
        settings(OWN, "data.root=x", "++data.train_images=5")


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_notebook", "fsdp", "deepspeed"])
def test_a_strategy_that_would_lose_results_is_refused(strategy):
    with pytest.raises(UsageError, match=r"trainer\.strategy.*use ddp"):
        settings(f"trainer.strategy={strategy}")


def test_predict_asks_for_a_checkpoint_and_a_source():
    with pytest.raises(UsageError) as caught:
        check(composed(name="predict"), PredictSettings)
    assert "checkpoint=runs/" in str(caught.value)
    assert "source=<file, folder or glob>" in str(caught.value)


def test_a_run_folder_in_place_of_a_checkpoint_is_answered_with_its_best_checkpoint(tmp_path):
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.parent.mkdir()
    with pytest.raises(UsageError, match=f"there is no file {tmp_path};"):
        check(composed(f"checkpoint={tmp_path}", name="predict"), PredictSettings)
    best.touch()
    with pytest.raises(UsageError, match=f"name a file in this folder: {best}"):
        check(composed(f"checkpoint={tmp_path}", name="predict"), PredictSettings)


def test_settings_do_not_change_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        settings().seed = 1


def test_the_command_line_takes_precedence_over_stored_settings():
    stored = {"model": {"backbone": "resnet18"}, "seed": 5}
    tree = overridden(stored, resolved(composed("seed=7")), ["++seed=7"])
    assert tree["seed"] == 7
    assert tree["model"] == {"backbone": "resnet18"}


def test_a_stored_key_may_have_a_dot():
    tracker = {"_target_": "some.Logger", "tags": {"owner.team": "vision", "owner.key": "***"}}
    stored = resolved(composed("tracking=none")) | {"tracking": {"mine": tracker}}
    given = {"mine": {"tags": {"owner.team": "other", "owner.key": "hush"}}}
    tree = overridden(stored, resolved(composed("seed=7")) | {"tracking": given}, ["++seed=7"])
    assert tree["tracking"]["mine"]["tags"] == {"owner.team": "vision", "owner.key": "hush"}
    del stored["seed"]
    assert completed(stored, Settings, source=None)["tracking"] == {"mine": tracker}


def test_other_data_keep_the_image_size_of_the_weights():
    config = resolved(composed(OWN, "data.root=x"))
    stored = {"data": {"name": "shapes", "image_size": 48}}
    tree = overridden(stored, config, [OWN, "++data.root=x"], keep=["data.image_size"])
    assert f"data={tree['data']['name']}" == OWN
    assert tree["data"]["image_size"] == 48
    wider = overridden(stored, config, ["++data.image_size=128"], keep=["data.image_size"])
    assert wider["data"]["image_size"] == config["data"]["image_size"]


def test_presets_cannot_be_mixed_into_stored_settings():
    with pytest.raises(UsageError, match="changes many settings"):
        overridden({}, resolved(composed("debug=fast")), ["debug=fast"])


def resumed(*words):
    """The settings of a run that was trained for 2 epochs, resumed with these words."""
    stored = resolved(composed("trainer.max_epochs=2", "optimizer.lr=0.5"))
    config = resolved(composed(*words))
    return overridden(stored, config, without_presets(words, stored, config))


def test_a_preset_changes_nothing_in_a_resumed_run_that_it_does_not_name():
    tree = resumed("trainer=ddp", "++trainer.devices=4", "tracking=none")
    trainer = tree["trainer"]
    assert (trainer["strategy"], trainer["devices"], trainer["max_epochs"]) == ("ddp", 4, 2)
    assert not tree["tracking"]
    # The whole command line may be repeated.
    assert resumed("optimizer=adamw", "++optimizer.lr=0.5")["optimizer"]["lr"] == 0.5


@pytest.mark.parametrize(
    ("word", "lost"),
    [
        ("trainer=auto", r"trainer\.max_epochs=null"),
        ("optimizer=sgd", r"optimizer\.clip_norm=null optimizer\.lr=0\.1"),
        (OWN, r"data\.root=null"),
    ],
)
def test_a_preset_that_would_reset_a_resumed_run_is_refused(word, lost):
    with pytest.raises(UsageError, match=rf"(?s){word} replaces all.*name those.*{lost}"):
        resumed(word)


def test_a_resumed_run_keeps_what_it_has_derived_from_its_data(tmp_path):
    run, words = Run(tmp_path / "run"), (OWN, "++data.root=x")
    stored = resolved(composed(*words))
    assert stored["data"]["image_size"] is stored["data"]["value_range"] is None
    stored["data"] |= {"image_size": 64, "value_range": [0.0, 4095.0]}
    run.write_settings(check(stored, Settings))
    data = resumed_settings(run, composed(*words), words).data
    assert (data.input_size, data.value_range) == ((64, 64), (0, 4095))
    words = (*words, "++data.image_size=96", "++data.value_range=null")
    data = resumed_settings(run, composed(*words), words).data
    assert (data.input_size, data.value_range) == ((96, 96), None)


def test_settings_of_an_earlier_version_get_the_defaults_of_today(caplog):
    today = resolved(composed("optimizer=sgd", "optimizer.lr=0.5"))
    stored = {**today, "optimizer": dict(today["optimizer"]), "data": dict(today["data"])}
    del stored["optimizer"]["momentum"], stored["data"]["augment"]
    stored["ema"] = {"enabled": True, "every_n_steps": 4}  # of earlier versions
    stored["optimizer"]["dampening"] = 0.1
    stored["data"]["colours"] = 3
    with caplog.at_level("INFO"):
        tree = completed(stored, Settings, source="old/config.yaml")
    assert tree == today
    lines = [record.getMessage() for record in caplog.records]
    assert sorted(
        lines[0].removesuffix(".").split(" lacks settings, which are added: ")[1].split(", ")
    ) == ["data.augment (default)", "ema.decay (default)", "optimizer.momentum (default)"]
    words = "old/config.yaml has settings that no longer exist: "
    assert lines[1] == f"{words}data.colours, optimizer.dampening, ema.every_n_steps."
    assert "dampening" in stored["optimizer"]  # the argument is not changed


def test_complete_settings_are_returned_unchanged_and_nothing_is_logged(caplog):
    with caplog.at_level("INFO"):
        tree = resolved(composed())
        assert completed(tree, Settings, source="config.yaml") == tree
    assert not caplog.records


def test_paths_may_begin_with_the_home_folder():
    # ~ if cookiecutter.scope == "complete"
    data = check(composed("data.cache_folder='~/cache'", "data.exclude='~/x.txt'"), Settings).data
    assert (data.cache_folder, data.exclude) == (Path.home() / "cache", Path.home() / "x.txt")
    # ~ endif
    data = check(composed(OWN, "data.root='~/a'", "data.split_file='~/s.csv'"), Settings).data
    assert (data.root, data.split_file) == (Path.home() / "a", Path.home() / "s.csv")


def test_an_archive_is_no_folder_of_data():
    with pytest.raises(UsageError, match=r"data\.root +is photos\.zip, an archive: unpack it"):
        check(composed(OWN, "data.root=photos.zip"), Settings)


def test_stored_text_is_not_resolved(tmp_path):
    run = Run(tmp_path)
    run.settings_file.write_text("runs: ${oc.env:HOME}\n")
    assert run.settings == {"runs": "${oc.env:HOME}"}


def test_help_explains_every_setting():
    values = resolved(composed())
    known = dict(fields(Settings))
    # ~ if cookiecutter.use_wandb
    known |= tracker_fields(values["tracking"] or {})
    # ~ endif
    paths = [path for path in flattened(values) if not path.endswith(("name", "_target_"))]
    assert [path for path in paths if not known[path].description] == []
    # A default in the code would be missing from --help and --cfg job: values are in configs/.
    hidden = [path for path, field in fields(Settings) if not field.is_required()]
    assert hidden == ["tracking"]


@pytest.mark.parametrize("command", sorted(SCRIPTS.keys() - {"train"}))
def test_the_help_of_a_command_is_short_and_lists_its_own_settings(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    monkeypatch.setattr("{{ cookiecutter.package_name }}.settings.help.WIDTH", 80)
    with suppress(SystemExit):  # of argparse
        resolve_name(SCRIPTS[command])()
    text = capsys.readouterr().out
    assert 10 < len(text.splitlines()) < 60
    own, _, others = text.partition("\nAnd these settings of a training run")
    names = {name.split(".")[0] for name in re.findall(r"^  (\w[\w.]*)=", own, flags=re.MULTILINE)}
    assert not names & Settings.model_fields.keys()
    assert (names and "runs" in others) or text.startswith("usage: ")
    if command == "predict":
        assert "save=both The files to write. [pictures, tables, both]" in " ".join(text.split())


def run(*words, folder):
    code = (
        "import sys\n"
        "from {{ cookiecutter.package_name }} import cli\n"
        "sys.argv[0] = 'train'\n"
        "try:\n    cli.train()\n"
        "finally:\n    print('heavy:', sorted({'torch', 'lightning', 'timm'} & set(sys.modules)))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], "Learning rate after the warm-up. [> 0]"),
        (["--help"], "in the main process. [>= 0, auto]"),
        (["--help"], "Devices per machine: a number, auto, or indices: 0,1."),
        (["--help"], "optimizer.name=adamw The preset: choose it with optimizer=PRESET."),
        (["--help", "trainer=gpu", "seed=7"], "seed=7"),
        (["--help", "trainer=gpus"], "gpu"),
        (["--cfg", "job"], "backbone: resnet10t"),
        (["model.bakbone=resnet50"], "did you mean model.backbone?"),
        (["data=shape"], OWN.removeprefix("data=")),
        (["data=shape"], "data=shape: there is no such preset. Choose from"),
        (["tracking=[none,tensorbord]"], "tracking=tensorbord: there is no such preset."),
        (["optimizer=null"], "adamw"),
        (["optimizer=1"], "adamw"),
        (["optimizer="], "adamw"),
        (["resume=auto"], "no unfinished run"),
        (["optimizer.lr=0"], "greater than 0"),
        (["photos/a.png"], "photos/a.png has no ="),
        (["--epochs", "3"], "--epochs is no option: settings are written as <setting>=<value>."),
        (["--cfg", "job", "resnet50"], "resnet50 has no ="),
    ],
)
def test_help_and_refused_settings_do_not_import_pytorch(words, expected, tmp_path):
    done = run(*words, folder=tmp_path)
    assert expected in " ".join((done.stdout + done.stderr).split())
    assert "heavy: []" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_multirun_of_wrong_settings_does_not_import_pytorch(tmp_path):
    done = run("-m", "optimizer.lr=-1,-2", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("greater than 0") == 2
    assert "heavy: []" in done.stdout
    assert "Traceback" not in done.stderr
    assert len(list(tmp_path.glob("runs/*/failure.txt"))) == 2


COMMANDS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
# The settings in recipes.md exist only after its patches.
PAGES = [ROOT / "README.md", *sorted({*ROOT.glob("docs/*.md")} - {ROOT / "docs" / "recipes.md"})]
SHOWN = re.compile(rf"(?:uv run|--no-python) ({'|'.join(COMMANDS)})\b([^#&|`\n]*)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_show_no_unknown_setting(page):
    text = page.read_text(encoding="utf-8").replace("\\\n", "")
    for name, shown in SHOWN.findall(re.sub("<[^>\n]*>", "x", text)):
        words = shlex.split(shown)
        pairs = [word for word in words if "=" in word or word.startswith("~")]
        if "-m" in words:
            pairs = [pair.split(",")[0] for pair in pairs]
        pairs = [re.sub("^space", "++space", pair) for pair in pairs]  # may be new
        pairs = [re.sub(r"=(\^.*)", r"='\1'", pair) for pair in pairs]  # as ``launch`` quotes it
        tree = resolved(composed(*pairs, name=name))
        training = {key: tree[key] for key in Settings.model_fields if key in tree}
        assert "optimizer" not in tree or not problems(training, Settings), shown


def test_the_readme_shows_the_commands():
    shown = {name for name, _ in SHOWN.findall(PAGES[0].read_text(encoding="utf-8"))}
    assert {"train", "evaluate", "predict"} <= shown
