import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread, current_thread, main_thread

import optuna
import pytest
from hydra import compose, initialize_config_dir
from optuna.trial import TrialState
from sqlalchemy import Engine, event

from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.run.signals import interruptible
from {{ cookiecutter.package_name }}.search import search_space, tune
from {{ cookiecutter.package_name }}.search.search_space import (
    check_search,
    hydra_value,
    suggest,
    training_words,
)
from {{ cookiecutter.package_name }}.settings import hydra_launch
from {{ cookiecutter.package_name }}.settings.schema import MONITOR

from small import SHAPES, SMALL

RATE = "+space.optimizer.lr={low: 0.001, high: 0.1, log: true}"

# Replaces `train`: a training run of milliseconds, whose score is the learning rate.
FAKE_TRAIN = """
import os, sys, time
from pathlib import Path
words = dict(word.split("=", 1) for word in sys.argv[1:])
run = Path(words["runs"]) / os.environ["TRAIN_RUN_ID"]
with (run / "pids").open("a") as file:
    file.write(f"{os.getpid()}\\n")
if "resume" in words:
    words |= dict(line.split("=", 1) for line in (run / "words").read_text().splitlines())
    assert words["resume"] == run.name
else:
    with (run / "words").open("a") as file:
        file.writelines(f"{key}={words[key]}\\n" for key in words)
if "data.root" in words:
    print("The data are in", words["data.root"])
if words.get("model.backbone") == "broken":
    sys.exit("There is no such backbone.")
(run / "checkpoints").mkdir(exist_ok=True)
(run / "checkpoints" / "last.ckpt").touch()
metrics = run / "metrics.csv"
lines = metrics.read_text().splitlines() if metrics.exists() else ["epoch,step,SCORE"]
validations = int(1 / float(words.get("trainer.val_check_interval", 1)))  # in each epoch
for row in range(len(lines) - 1, validations * int(words["trainer.max_epochs"])):
    lines.append(f"{row // validations},{row},{words['optimizer.lr']}")
    metrics.write_text("\\n".join([*lines, ""]))
    time.sleep(float(words.get("ema.decay", 0)))
while Path("hold").exists():
    time.sleep(0.05)
if words.get("model.backbone") == "killed":
    os.kill(os.getpid(), 9)
(run / "metrics.json").write_text("{}")
""".replace("SCORE", MONITOR)

# `tune` in a process of its own, with fast training runs and a fast heartbeat.
FAKE_TUNE = """
import sys
from {{ cookiecutter.package_name }} import cli
from {{ cookiecutter.package_name }}.search import tune
tune.TRAIN, tune.POLL_SECONDS = [sys.executable, "fake_train.py"], 0.02
tune.HEARTBEAT_SECONDS = tune.STALE_SECONDS = 1
cli.tune()
assert not {"torch", "lightning"} & set(sys.modules)
"""


def settings_of(*overrides):
    words = ("~space", *overrides)
    with initialize_config_dir(str(hydra_launch.CONFIGS), version_base="1.3"):
        return check_search(compose("tune", list(words)), words)


def open_study(*overrides, folder=Path("runs/tune/first")):
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_of(*overrides)
    return tune.open_study(settings, training_words(settings, overrides), folder)


@pytest.fixture
def search(workplace, monkeypatch):
    """Search with trainings of milliseconds; returns the trials, and the folder of the study."""
    (workplace / "fake_train.py").write_text(FAKE_TRAIN)
    monkeypatch.setattr(tune, "TRAIN", [sys.executable, "fake_train.py"])
    monkeypatch.setattr(tune, "POLL_SECONDS", 0.02)

    def run(*overrides, space=(RATE,)):
        overrides = (*space, "trainer.max_epochs=2", *overrides)
        settings = settings_of(*overrides)
        with interruptible():
            tune.run_search(settings, ["~space", *overrides])
        folder = Path("runs/tune") / settings.study
        return open_study(*overrides, folder=folder).trials, folder

    return run


@pytest.fixture
def start_search(workplace):
    """Start a search in a process of its own."""
    (workplace / "fake_train.py").write_text(FAKE_TRAIN)
    (workplace / "fake_tune.py").write_text(FAKE_TUNE)
    processes = []

    def start(*overrides):
        words = ["~space", RATE, "trainer.max_epochs=2", *overrides]
        command = [sys.executable, "fake_tune.py", *words]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def first_run(epochs, folder=Path("runs/tune/first")):
    """Wait until a training run has logged some epochs, and return its run folder."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob("*/metrics.csv"):
            if len(path.read_text().splitlines()) > epochs:
                return path.parent
        time.sleep(0.05)
    raise TimeoutError


def rows_of(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def states_of(trials):
    return [trial.state.name for trial in trials]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "space  is missing"),
        (["+space={}"], "space  is {}: dictionary should have at least 1 item"),
        (["+space.seed={low: 1}"], "space.seed.high  is missing"),
        (
            ["+space.modl.backbone=[a,b]"],
            "space.modl.backbone  is not a setting; did you mean model?",
        ),
        (["+space.seed=3"], "space.seed  is 3: give a list of values, [a, b], or a range"),
        (["+space.seed=[3]"], "space.seed  is [3]: give a list of values"),
        (["+space.seed={lo: 1, high: 3}"], "space.seed.lo  is not a setting"),
        (["+space.seed={low: 3, high: 1}"], "space.seed  `low <= high` must hold"),
        (
            ["+space.seed={low: 1, high: 2.5}"],
            "space.seed  is 2.5: input should be a valid integer",
        ),
        (["+space.seed={low: 1.0, high: 3.0}"], "number with a fractional part"),
        (["+space.optimizer.name=[sgd,adam]"], "space.optimizer.name  is 'adam': input should be"),
        (["+space.ema.decay={low: 0.9, high: 1.0}"], "space.ema.decay  is 1.0: input should be"),
        (["+space.trainer.max_epochs=[2,4]"], "space.trainer.max_epochs  is one number for all"),
        ([RATE, "optimizer.lr=0.1"], "space.optimizer.lr  is also on the command line"),
        ([RATE, "study=a/b"], "study  is 'a/b': string should match pattern"),
        ([RATE, "resume=auto"], "resume  is for train; tune continues the study of the same name"),
        ([RATE, "optimizer.momentum=2"], "optimizer.momentum  is 2: input should be less than 1"),
    ],
    ids=str,
)
def test_a_mistake_is_reported_before_the_first_trial(overrides, message):
    with pytest.raises(UsageError) as caught:
        settings_of(*overrides)
    assert " ".join(message.split()) in " ".join(str(caught.value).split())


@pytest.mark.parametrize(
    "mistakes",
    [
        {"trials": "0", "seed": "-1", "+space.optimizer": "3"},
        {"+space.seed": "[1,many]", "+space.optimizer.lr": "[0,0.1]"},
    ],
)
def test_mistakes_are_reported_together(mistakes):
    with pytest.raises(UsageError) as caught:
        settings_of(*(f"{path}={value}" for path, value in mistakes.items()))
    for path in mistakes:
        assert f"\n  {path.removeprefix('+')} " in str(caught.value)
    assert f"{len(mistakes)} settings are wrong" in str(caught.value)


def test_the_default_space_can_be_changed_in_part():
    with initialize_config_dir(str(hydra_launch.CONFIGS), version_base="1.3"):
        config = compose("tune", ["space.optimizer.lr.high=0.5", "~space.data"])
    space = check_search(config, []).space
    assert space["optimizer.lr"].high == 0.5
    assert space["optimizer.lr"].log
    assert "optimizer.weight_decay" in space
    assert not [key for key in space if key.startswith("data.")]


def test_proposals_are_words_of_a_command_line():
    settings = settings_of(
        RATE,
        "+space.seed={low: 1, high: 3}",
        "+space.data.image_size={low: 64, high: 256, step: 64}",
        "+space.loader.batch_size={low: 2, high: 100, log: true}",
        "+space.optimizer.weight_decay={low: 0, high: 1}",
        "+space.data.augment.flip={low: 0.0, high: 1.0, step: 0.25}",
        "+space.trainer.patience=[null,5]",
        "+space.model.backbone=[resnet18,a.b-c]",
    )
    memory = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    words = [suggest(memory.ask(), settings) for _ in range(60)]
    proposals = [dict(word.split("=") for word in proposal) for proposal in words]
    values = {key: {proposal[key] for proposal in proposals} for key in settings.space}
    assert all(0.001 <= float(value) <= 0.1 for value in values["optimizer.lr"])
    assert sum(float(value) < 0.01 for value in values["optimizer.lr"]) > 20  # about a half
    assert values["seed"] == {"1", "2", "3"}
    assert values["data.image_size"] == {"64", "128", "192", "256"}
    assert all(value.isdigit() for value in values["loader.batch_size"])
    assert len(values["optimizer.weight_decay"]) == 60  # numbers with a fraction
    assert values["data.augment.flip"] == {"0.0", "0.25", "0.5", "0.75", "1.0"}
    assert values["trainer.patience"] == {"null", "5"}
    assert values["model.backbone"] == {"resnet18", "a.b-c"}


@pytest.mark.parametrize(
    "value",
    ["resnet18", "true", "null", "1e3", "a b", "it's, [so]", "", 3, 1e-5, None, True, ["a", "b c"]],
)
def test_hydra_reads_a_word_as_the_value(value):
    with initialize_config_dir(str(hydra_launch.CONFIGS), version_base="1.3"):
        config = compose("train", [f"++resume={hydra_value(value)}"])
    assert config.resume == value


@pytest.mark.figures
def test_a_search_runs_all_trials_and_prints_how_to_train_the_best_again(search, capsys):
    trials, folder = search("trials=4", "study=rates", "data=shapes", "seed=5")
    assert states_of(trials) == ["COMPLETE"] * 4
    rows = rows_of(folder)
    ids = [trial.user_attrs["run"] for trial in trials]
    assert [re.sub("_[0-9a-f]{4}", "", run) for run in ids] == [f"rates-00{n}" for n in range(4)]
    assert {row["run"] for row in rows} == set(ids)
    rates = [trial.params["optimizer.lr"] for trial in trials]
    assert float(rows[0][MONITOR]) == max(rates)
    for name in ("results.png", "importances.png", "slices.png"):
        assert (folder / name).stat().st_size > 5000
    assert (folder / "report.html").read_text().count("data:image/") == 3
    words = (folder / ids[0] / "words").read_text().splitlines()
    assert set(words) == {
        "trainer.max_epochs=2",
        "data=shapes",
        "seed=5",
        f"optimizer.lr={rates[0]}",
        f"runs={folder}",
        "trainer.progress=false",
    }
    best = f"uv run train trainer.max_epochs=2 data=shapes seed=5 optimizer.lr={max(rates)}"
    assert best in capsys.readouterr().out


def test_secrets_of_the_command_line_are_redacted_in_what_a_search_leaves_and_prints(
    search, capsys
):
    token = "ghp_0123456789abcdefghij"
    _, folder = search("trials=1", f"data.root=photos/{token}")
    (log,) = folder.glob("*/train.log")
    assert log.read_text() == "The data are in photos/***\n"
    printed = capsys.readouterr().out
    assert "data.root=photos/***" in printed
    assert token not in printed
    written = [file for file in folder.rglob("*") if file.is_file() and file.name != "words"]
    assert not [file for file in written if token.encode() in file.read_bytes()]


def test_a_study_in_parts_has_the_trials_of_an_unbroken_study(search):
    whole, _ = search("trials=13", "study=whole")
    search("trials=11", "study=parts")
    parts, _ = search("trials=13", "study=parts")
    assert [trial.params for trial in parts] == [trial.params for trial in whole]
    assert len({trial.params["optimizer.lr"] for trial in whole}) == 13


def test_a_failed_trial_has_a_reason_and_the_search_continues(search):
    backbones = "+space.model.backbone=[broken,killed,sound]"
    trials, folder = search("trials=12", "pruner=null", space=(RATE, backbones))
    rows = {row["run"]: row for row in rows_of(folder)}
    expected = {
        "broken": ("FAIL", "failed", "with exit status 1: There is no such backbone."),
        "killed": ("FAIL", "failed", "The training ended with SIGKILL: "),
        "sound": ("COMPLETE", "finished", ""),
    }
    assert {trial.params["model.backbone"] for trial in trials} == expected.keys()
    for trial in trials:
        row = rows[trial.user_attrs["run"]]
        state, result, reason = expected[trial.params["model.backbone"]]
        assert (trial.state.name, row["state"]) == (state, result)
        assert row["reason"].endswith(reason.strip())


@pytest.mark.parametrize(
    ("pruner", "interval", "pause"),
    [("hyperband", 1, 0.15), ("median", 0.25, 0.04)],
)
@pytest.mark.filterwarnings("error:The reported value is ignored")
def test_bad_trials_are_pruned(search, pruner, interval, pause):
    slow = ("trainer.max_epochs=9", f"trainer.val_check_interval={interval}", f"ema.decay={pause}")
    trials, folder = search("trials=9", f"pruner={pruner}", *slow)
    pruned = {trial.user_attrs["run"] for trial in trials if trial.state == TrialState.PRUNED}
    assert set(states_of(trials)) == {"PRUNED", "COMPLETE"}
    assert {row["run"] for row in rows_of(folder) if row["state"] == "stopped"} == pruned
    best = max(trials, key=lambda trial: trial.params["optimizer.lr"])
    assert best.state == TrialState.COMPLETE


def test_a_signal_stops_the_search_and_the_same_command_continues_its_training(search):
    slow = ("trials=2", "trainer.max_epochs=20", "ema.decay=0.1")

    def stop_soon():
        first_run(epochs=3)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=stop_soon).start()
    with pytest.raises(SystemExit, match="143"):
        search(*slow)
    folder = Path("runs/tune/first")
    (row,) = rows_of(folder)
    assert row["state"] == "stopped"
    run = folder / row["run"]
    epochs = (run / "metrics.csv").read_text().splitlines()
    assert 2 < len(epochs) < 20
    trials, _ = search(*slow)
    assert states_of(trials) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert trials[0].params == trials[1].params
    assert [row["state"] for row in rows_of(folder)] == ["finished"] * 2
    assert (run / "words").read_text().count("optimizer.lr=") == 1  # resumed, not started again
    assert (run / "metrics.csv").read_text().splitlines()[: len(epochs)] == epochs


def test_a_signal_in_a_transaction_leaves_the_database_unlocked(search):
    slow, sent = ("trials=1", "trainer.max_epochs=20", "ema.decay=0.1"), []

    def send(connection, cursor, statement, *_):
        is_read = statement.startswith("SELECT") and current_thread() is main_thread()
        if is_read and not sent and any(Path("runs").rglob("train.log")):
            sent.append(statement)
            signal.raise_signal(signal.SIGTERM)

    event.listen(Engine, "after_cursor_execute", send)
    try:
        with pytest.raises(SystemExit, match="143"):
            search(*slow)
    finally:
        event.remove(Engine, "after_cursor_execute", send)
    trials, _ = search(*slow)
    assert states_of(trials) == ["FAIL", "COMPLETE"]


def test_a_study_with_another_space_or_other_settings_is_refused(search):
    search("trials=1", "data.image_size=64")
    search("trials=2", "pruner=null", "data.image_size=64")
    with pytest.raises(UsageError) as caught:
        search("trials=3", "seed=5", "data.image_size=128", space=(RATE.replace("0.1", "0.2"),))
    assert "\n  optimizer.lr: {'low': 0.001, 'high': 0.1" in str(caught.value)
    assert "now {'low': 0.001, 'high': 0.2" in str(caught.value)
    assert "\n  data.image_size: 64, now 128\n" in str(caught.value)
    assert "\n  seed: not given, now 5\n" in str(caught.value)
    assert "study=<name>, or restore these settings" in str(caught.value)
    trials, _ = search("trials=3", "data.image_size=64")
    assert len(trials) == 3


def test_a_study_with_a_run_in_another_folder_is_refused(workplace):
    trial = optuna.trial.create_trial(value=0.0, user_attrs={"run": "../elsewhere"})
    open_study(RATE).add_trial(trial)
    with pytest.raises(UsageError, match=r"has a run '\.\./elsewhere' in another folder"):
        open_study(RATE)


def test_a_database_that_cannot_be_opened_is_reported(workplace):
    with pytest.raises(UsageError, match="The database of the study cannot be opened"):
        open_study(RATE, "storage='sqlite:////nowhere/study.db'")


def test_two_processes_share_a_study(start_search, workplace):
    pair = [start_search("trials=6", "ema.decay=0.2") for _ in range(2)]
    printed = [process.communicate()[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    rows = rows_of(workplace / "runs/tune/first")
    assert len(rows) == 6
    assert {row["state"] for row in rows} <= {"finished", "stopped"}
    assert all(text.count(" started: optimizer.lr=") for text in printed), "not shared"
    assert all(text.count("finished") >= 6 for text in printed), "did not wait"


@pytest.mark.parametrize("training", ["killed", "orphaned"])
def test_a_killed_search_is_continued_without_a_second_training(start_search, workplace, training):
    hold = workplace / "hold"
    hold.touch()
    first = start_search("trials=1")
    run = first_run(epochs=1)
    first.kill()
    if training == "killed":
        os.kill(int((run / "pids").read_text()), signal.SIGKILL)
    second = start_search("trials=1")
    assert "started" in second.stdout.readline()
    time.sleep(0.5)  # for a training run that should not start yet
    hold.unlink()
    assert second.wait() == 0
    assert [row["state"] for row in rows_of(run.parent)] == ["finished"]
    assert (run / "words").read_text().count("optimizer.lr=") == 1
    assert len((run / "pids").read_text().split()) == (2 if training == "killed" else 1)


def test_without_optuna_the_message_says_how_to_install_it(command, monkeypatch):
    monkeypatch.setattr(f"{search_space.__name__}.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        command("tune")
    assert "uv sync --extra tune" in str(stopped.value.code)


def test_a_study_of_real_trainings_has_a_failure_and_continues(workplace):
    small = [word for word in (*SMALL, *SHAPES) if not word.startswith("model.backbone")]
    space = "+space.model.backbone=[test_resnet,no_such_net]"
    words = ["~space", space, *small, "trainer.max_epochs=1"]
    folder = workplace / "runs/tune/first"
    begun = open_study(*words[1:])
    for backbone in ("no_such_net", "test_resnet"):
        begun.enqueue_trial({"model.backbone": backbone})
    for trials in (2, 3):
        command = [Path(sys.executable).with_name("tune"), *words, f"trials={trials}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows = {row["run"][-3:]: row for row in rows_of(folder)}
        assert len(rows) == trials
        assert "no_such_net: timm has no such model" in rows["000"]["reason"]
        assert rows["001"]["state"] == "finished"
    assert "model.backbone=test_resnet" in done.stdout
