import csv
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import optuna
import pytest
from hydra import compose, initialize_config_dir
from optuna.trial import TrialState

from {{ cookiecutter.package_name }} import cli
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.run.files import write_json
from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.search import study, tune
from {{ cookiecutter.package_name }}.search.search_space import check_search, suggest, word
from {{ cookiecutter.package_name }}.settings import launch
from {{ cookiecutter.package_name }}.settings.tree import MONITOR

from small import SHAPES, SMALL

RATE = "+space.optimizer.lr={low: 0.001, high: 0.1, log: true}"

# Stands in for ``train``: a trial of milliseconds, whose score is the learning rate.
FAKE = """
import os, sys, time
from pathlib import Path
words = dict(word.split("=", 1) for word in sys.argv[1:])
run = Path(words["runs"]) / os.environ["TRAIN_RUN_ID"]
if "resume" in words:
    words |= dict(line.split("=", 1) for line in (run / "words").read_text().splitlines())
    assert words["resume"] == run.name
else:
    with (run / "words").open("a") as file:
        file.writelines(f"{key}={words[key]}\\n" for key in words)
if words.get("model.backbone") == "broken":
    sys.exit("There is no such backbone.")
(run / "checkpoints").mkdir(exist_ok=True)
(run / "checkpoints" / "last.ckpt").touch()
metrics = run / "metrics.csv"
lines = metrics.read_text().splitlines() if metrics.exists() else ["epoch,step,SCORE"]
for epoch in range(len(lines) - 1, int(words["trainer.max_epochs"])):
    lines.append(f"{epoch},{epoch},{words['optimizer.lr']}")
    metrics.write_text("\\n".join([*lines, ""]))
    time.sleep(float(words.get("ema.decay", 0)))
if words.get("model.backbone") == "killed":
    os.kill(os.getpid(), 9)
(run / "metrics.json").write_text("{}")
""".replace("SCORE", MONITOR)


# A search in a process of its own, with the stand-in for its trainings.
DRIVER = """
import sys
from PACKAGE import cli, tune
tune.TRAIN, tune.POLL_SECONDS = [sys.executable, "fake.py"], 0.02
try:
    cli.tune()
finally:
    print("heavy:", sorted({"torch", "lightning", "timm"} & set(sys.modules)))
""".replace("PACKAGE", cli.__package__)


def search(*overrides):
    words = ("~space", *overrides)
    with initialize_config_dir(str(launch.CONFIGS), version_base="1.3"):
        return check_search(compose("tune", list(words)), words)


@pytest.fixture
def fake(workplace, monkeypatch):
    """A search with trials of milliseconds; returns the trials, and where their runs are."""
    (workplace / "fake.py").write_text(FAKE)
    monkeypatch.setattr(tune, "TRAIN", [sys.executable, "fake.py"])
    monkeypatch.setattr(tune, "POLL_SECONDS", 0.02)
    monkeypatch.setenv(cli.RUN_ID, "the-search")

    def run(*overrides, space=(RATE,)):
        overrides = ("trainer.max_epochs=2", *overrides)
        settings = search(*space, *overrides)
        tune.run_search(settings, ["~space", *space, *overrides])
        folder = Path("runs/tune") / settings.study
        return study.open_study(settings, folder).trials, folder

    return run


@pytest.fixture
def driver(workplace):
    """Start a search as a process of its own."""
    (workplace / "fake.py").write_text(FAKE)
    (workplace / "driver.py").write_text(DRIVER)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRAIN_")}
    started = []

    def start(*overrides):
        words = ["~space", RATE, "trainer.max_epochs=2", *overrides]
        command = [sys.executable, "driver.py", *words]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def rows_of(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def states(trials):
    return [trial.state.name for trial in trials]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "space  is missing"),
        (["+space={}"], "space  is {}: dictionary should have at least 1 item"),
        (["+space.seed={low: 1}"], "space.seed.high  is missing"),
        (
            ["+space.modl.backbone=[a,b]"],
            "space.modl.backbone  is not a setting; did you mean model?",
        ),
        (["+space.seed=3"], "space.seed  is 3: say what to choose from"),
        (["+space.seed=[3]"], "space.seed  is [3]: say what to choose from"),
        (["+space.seed={lo: 1, high: 3}"], "space.seed.lo  is not a setting; did you mean low?"),
        (["+space.seed={low: 3, high: 1}"], "space.seed  low must be less than high"),
        (["+space.seed={low: 0, high: 5, log: true}"], "space.seed  log: true needs a low above 0"),
        (["+space.seed={low: 0, high: 5, step: 2}"], "space.seed  step does not lead from low to"),
        (
            ["+space.seed={low: 1, high: 2.5}"],
            "space.seed  is 2.5: input should be a valid integer",
        ),
        (["+space.seed={low: 1.0, high: 3.0}"], "number with a fractional part"),
        (["+space.optimizer.name=[sgd,adam]"], "space.optimizer.name  is 'adam': input should be"),
        (
            ["+space.ema.decay={low: 0.9, high: 1.0}"],
            "space.ema.decay  is 1.0: input should be less",
        ),
        ([RATE, "optimizer.lr=0.1"], "space.optimizer.lr  is given on the command line, too"),
        ([RATE, "study=a/b"], "study  is 'a/b': string should match pattern"),
        ([RATE, "trials=0"], "trials  is 0: input should be greater than or equal to 1"),
        ([RATE, "pruner=best"], "pruner  is 'best': input should be 'median' or 'hyperband'"),
        ([RATE, "resume=auto"], "resume  is for a training; a search goes on"),
        ([RATE, "optimizer.momentum=2"], "optimizer.momentum  is 2: input should be less than 1"),
    ],
    ids=str,
)
def test_a_mistake_is_told_before_anything_starts(overrides, said):
    with pytest.raises(UsageError) as caught:
        search(*overrides)
    assert " ".join(said.split()) in " ".join(str(caught.value).split())


def test_all_mistakes_are_told_at_once():
    with pytest.raises(UsageError) as caught:
        search(
            "+space.seed=[1,many]", "+space.optimizer.lr=[0,0.1]", "trials=0", "loader.workers=-1"
        )
    for path in ("space.seed", "space.optimizer.lr", "trials", "loader.workers"):
        assert f"\n  {path} " in str(caught.value)
    assert "4 settings are wrong" in str(caught.value)


def test_the_space_that_is_there_can_be_searched_and_changed_in_part():
    with initialize_config_dir(str(launch.CONFIGS), version_base="1.3"):
        config = compose("tune", ["space.optimizer.lr.high=0.5", "~space.data"])
    space = check_search(config, []).space
    assert space["optimizer.lr"].high == 0.5
    assert space["optimizer.lr"].log
    assert "optimizer.weight_decay" in space
    assert not [key for key in space if key.startswith("data.")]


def test_what_is_suggested_is_what_a_command_line_can_say():
    settings = search(
        RATE,
        "+space.seed={low: 1, high: 3}",
        "+space.data.image_size={low: 64, high: 256, step: 64}",
        "+space.ema.every_n_steps={low: 1, high: 100, log: true}",
        "+space.optimizer.weight_decay={low: 0, high: 1}",
        "+space.data.augment.flip={low: 0.0, high: 1.0, step: 0.25}",
        "+space.ema.enabled=[true,false]",
        "+space.trainer.patience=[null,5]",
        "+space.model.backbone=[resnet18,a.b-c]",
    )
    memory = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = [suggest(memory.ask(), settings) for _ in range(60)]
    values = {key: {one[key] for one in found} for key in settings.space}
    assert all(0.001 <= float(value) <= 0.1 for value in values["optimizer.lr"])
    assert sum(float(value) < 0.01 for value in values["optimizer.lr"]) > 20  # half of them
    assert values["seed"] == {"1", "2", "3"}
    assert values["data.image_size"] == {"64", "128", "192", "256"}
    assert all(value.isdigit() for value in values["ema.every_n_steps"])
    assert len(values["optimizer.weight_decay"]) == 60  # not 0 or 1, since it takes fractions
    assert values["data.augment.flip"] == {"0.0", "0.25", "0.5", "0.75", "1.0"}
    assert values["ema.enabled"] == {"true", "false"}
    assert values["trainer.patience"] == {"null", "5"}
    assert values["model.backbone"] == {"resnet18", "a.b-c"}


@pytest.mark.parametrize(
    "value",
    ["resnet18", "true", "null", "1e3", "a b", "it's, [so]", "", 3, 1e-5, None, True, ["a", "b c"]],
)
def test_hydra_reads_a_word_as_it_was_meant(value):
    with initialize_config_dir(str(launch.CONFIGS), version_base="1.3"):
        config = compose("train", [f"++resume={word(value)}"])
    assert config.resume == value


def test_a_study_has_all_its_trials_and_tells_how_to_train_the_best_again(fake, capsys):
    trials, folder = fake("trials=4", "study=rates", "data=shapes", "seed=5")
    assert states(trials) == ["COMPLETE"] * 4
    rows = rows_of(folder)
    ids = [trial.user_attrs["run"] for trial in trials]
    assert [re.sub("_[0-9a-f]{4}", "", run) for run in ids] == [f"rates-00{n}" for n in range(4)]
    assert {row["run"] for row in rows} == set(ids)
    rates = [trial.params["optimizer.lr"] for trial in trials]
    assert float(rows[0][MONITOR]) == max(rates)
    assert (folder / "results.png").is_file()
    handed_on = (folder / ids[0] / "words").read_text().splitlines()
    assert set(handed_on) == {
        "trainer.max_epochs=2",
        "data=shapes",
        "seed=5",
        f"optimizer.lr={rates[0]}",
        f"runs={folder}",
        "trainer.progress=false",
    }
    said = capsys.readouterr().out
    assert f"uv run train trainer.max_epochs=2 data=shapes seed=5 optimizer.lr={max(rates)}" in said


def test_a_study_goes_on_as_if_it_had_not_been_interrupted(fake):
    whole, _ = fake("trials=14", "study=whole")
    fake("trials=6", "study=parts")
    parts, _ = fake("trials=14", "study=parts")
    assert [trial.params for trial in parts] == [trial.params for trial in whole]
    assert len({trial.params["optimizer.lr"] for trial in whole}) == 14
    assert len(fake("trials=14", "study=parts")[0]) == 14  # nothing is left to do


def test_a_trial_that_fails_tells_why_and_the_others_go_on(fake):
    backbones = "+space.model.backbone=[broken,killed,sound]"
    trials, folder = fake("trials=12", "pruner=null", space=(RATE, backbones))
    rows = {row["run"]: row for row in rows_of(folder)}
    told = {
        "broken": ("FAIL", "failed", "There is no such backbone."),
        "killed": ("FAIL", "failed", "The training was killed by SIGKILL."),
        "sound": ("COMPLETE", "finished", ""),
    }
    assert {trial.params["model.backbone"] for trial in trials} == told.keys()
    for trial in trials:
        state, result, reason = told[trial.params["model.backbone"]]
        row = rows[trial.user_attrs["run"]]
        assert (trial.state.name, row["state"]) == (state, result)
        assert row["reason"].endswith(reason)


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_trials_that_lag_behind_are_stopped(fake, pruner):
    slow = ("trainer.max_epochs=9", "ema.decay=0.08")
    trials, folder = fake("trials=9", f"pruner={pruner}", *slow)
    pruned = {trial.user_attrs["run"] for trial in trials if trial.state == TrialState.PRUNED}
    assert pruned
    assert set(states(trials)) == {"PRUNED", "COMPLETE"}
    rows = {row["run"]: row for row in rows_of(folder)}
    assert {run for run, row in rows.items() if row["state"] == "stopped"} == pruned
    best = max(trials, key=lambda trial: trial.params["optimizer.lr"])
    assert best.state == TrialState.COMPLETE


def test_no_trial_is_stopped_without_a_pruner(fake):
    trials, _ = fake("trials=9", "pruner=null")
    assert states(trials) == ["COMPLETE"] * 9


def test_a_signal_stops_the_training_and_the_next_search_goes_on_with_it(fake):
    slow = ("trials=2", "trainer.max_epochs=20", "ema.decay=0.1")
    Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(SystemExit, match="goes on where it was"):
        fake(*slow)
    folder = Path("runs/tune/first")
    (row,) = rows_of(folder)
    assert row["state"] == "stopped"
    run = folder / row["run"]
    epochs = (run / "metrics.csv").read_text().splitlines()
    assert 2 < len(epochs) < 20
    trials, _ = fake(*slow)
    assert states(trials) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert trials[0].params == trials[1].params
    assert [row["state"] for row in rows_of(folder)] == ["finished"] * 2  # two, not three
    begun = (run / "words").read_text()
    assert begun.count("optimizer.lr=") == 1  # it went on from its checkpoint
    assert (run / "metrics.csv").read_text().splitlines()[: len(epochs)] == epochs


def test_another_space_under_the_same_name_is_refused(fake):
    fake("trials=1")
    other = RATE.replace("0.1", "0.2")
    with pytest.raises(UsageError) as caught:
        fake("trials=2", space=(other, "+space.seed=[1,2]"))
    said = str(caught.value)
    assert "optimizer.lr: {'low': 0.001, 'high': 0.1" in said
    assert "now {'low': 0.001, 'high': 0.2" in said
    assert "seed: None, now [1, 2]" in said
    assert "study=<name>" in said


def test_another_setting_in_the_same_study_is_told(fake, caplog):
    caplog.set_level("INFO")
    fake("trials=1")
    assert "another setting" not in caplog.text
    fake("trials=2", "trainer.max_epochs=3", "pruner=null")
    assert "begun with another setting: trainer.max_epochs: 2, now 3" in caplog.text
    assert "pruner" not in caplog.text


@pytest.fixture
def running(workplace):
    """A study with a trial that runs here, in a process that is given."""

    def start(process, host=None):
        folder = Path("runs/tune/first")
        settings = search(RATE, "trials=1")
        opened = study.open_study(settings, folder)
        trial = study.next_trial(opened, settings, folder)
        suggest(trial, settings)
        trial.set_user_attr("processes", [host or socket.gethostname(), process, process])
        run = Run(folder / trial.user_attrs["run"])
        run.folder.mkdir()
        (run.folder / study.LOG).touch()
        return opened, folder, run

    return start


@pytest.fixture
def gone():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_trial_whose_process_was_killed_has_failed(running, gone):
    opened, folder, run = running(gone)
    study.end_unwatched(opened, folder)
    assert states(opened.trials) == ["FAIL"]
    assert "was killed" in run.failure.read_text()


def test_a_trial_that_came_to_its_end_unwatched_counts(running, gone):
    opened, folder, run = running(gone)
    run.metrics.write_text(f"epoch,step,{MONITOR}\n0,10,0.5\n")
    write_json(run.results, {})
    study.end_unwatched(opened, folder)
    assert states(opened.trials) == ["COMPLETE"]
    assert opened.best_value == 0.5


def test_a_trial_whose_process_lives_is_left_alone(running):
    opened, folder, _ = running(os.getpid())
    study.end_unwatched(opened, folder)
    assert states(opened.trials) == ["RUNNING"]
    assert study.next_trial(opened, search(RATE, "trials=1"), folder) is None
    assert study.ended_runs(opened, folder) == []


def test_of_two_searches_that_want_the_last_trial_one_gets_it(running, monkeypatch):
    opened, folder, _ = running(os.getpid())
    seen = iter([[], [], opened.trials])  # the other one's trial comes in between
    with monkeypatch.context() as patched:
        patched.setattr(opened, "get_trials", lambda **_: next(seen))
        assert study.next_trial(opened, search(RATE, "trials=1"), folder) is None
    assert states(opened.trials) == ["RUNNING", "FAIL"]
    assert study.ended_runs(opened, folder) == []


def test_a_trial_on_another_machine_has_failed_after_a_long_silence(running, gone):
    opened, folder, run = running(gone, host="elsewhere")
    study.end_unwatched(opened, folder)
    assert states(opened.trials) == ["RUNNING"]
    before = time.time() - study.SILENT_SECONDS - 5
    os.utime(run.folder / study.LOG, (before, before))
    study.end_unwatched(opened, folder)
    assert states(opened.trials) == ["FAIL"]


def test_two_searches_share_a_study_without_pytorch(driver, workplace):
    pair = [driver("trials=8", "ema.decay=0.1") for _ in range(2)]
    said = [process.communicate()[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert all("heavy: []" in text for text in said)
    rows = rows_of(workplace / "runs/tune/first")
    assert len(rows) == 8
    assert {row["state"] for row in rows} <= {"finished", "stopped"}
    both = [len(re.findall(r"^first_.*optimizer.lr=", text, flags=re.MULTILINE)) for text in said]
    assert min(both) > 0, "one did all the work"


def test_a_killed_search_leaves_a_study_that_goes_on(driver, workplace):
    folder = workplace / "runs/tune/first"
    process = driver("trials=2", "trainer.max_epochs=1000", "ema.decay=0.1")
    deadline = time.monotonic() + 60
    while not any(folder.glob("*/metrics.csv")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    settings = search(RATE, "trials=2", "trainer.max_epochs=1000")
    (trial,) = study.open_study(settings, folder).trials
    process.kill()
    os.kill(trial.user_attrs["processes"][-1], signal.SIGKILL)
    process.wait()
    assert driver("trials=2").wait() == 0
    rows = rows_of(folder)
    assert [row["state"] for row in rows] == ["finished", "failed"]
    assert "was killed" in rows[1]["reason"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_killed_search_is_noticed_before_its_parent_takes_note(workplace):
    folder = workplace / "runs/tune/first"
    begun = study.open_study(search(RATE), folder)
    trial = study.next_trial(begun, search(RATE), folder)
    run = Run(folder / trial.user_attrs["run"])
    run.folder.mkdir()
    (run.folder / study.LOG).touch()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        trial.set_user_attr("processes", [socket.gethostname(), process.pid])
        study.end_unwatched(begun, folder)
        assert begun.trials[0].state == TrialState.RUNNING
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, but still listed
        study.end_unwatched(begun, folder)
    assert begun.trials[0].state == TrialState.FAIL


def test_without_optuna_the_fix_is_told(command, monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        command("tune")
    assert "uv sync --extra tune" in str(stopped.value.code)


def test_a_real_study_has_a_failure_and_goes_on(workplace):
    small = [word for word in (*SMALL, *SHAPES) if not word.startswith("model.backbone")]
    space = "+space.model.backbone=[test_resnet,no_such_net]"
    words = ["~space", space, *small, "trainer.max_epochs=1"]
    folder = workplace / "runs/tune/first"
    begun = study.open_study(search(*words[1:]), folder)
    for backbone in ("no_such_net", "test_resnet", "test_resnet"):
        begun.enqueue_trial({"model.backbone": backbone})
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRAIN_")}
    for trials in (3, 4):
        command = [Path(sys.executable).with_name("tune"), *words, f"trials={trials}"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        rows = {row["run"][-3:]: row for row in rows_of(folder)}
        assert len(rows) == trials
        assert "no_such_net: timm has no such model" in rows["000"]["reason"]
        assert [rows[number]["state"] for number in ("001", "002")] == ["finished"] * 2
    assert "model.backbone=test_resnet" in done.stdout.splitlines()[-2]
