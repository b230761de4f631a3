"""Secrets stay out of what a run writes, and the settings in a file of a stranger are data."""

import sys
from types import SimpleNamespace

import pytest
import torch
import yaml

from {{ cookiecutter.package_name }}.run.environment import (
    environment,
    redacted,
    without_secrets,
)
from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.settings.check_settings import check, resolved
from {{ cookiecutter.package_name }}.settings.schema import Settings
from {{ cookiecutter.package_name }}.settings.stored_settings import overridden
from {{ cookiecutter.package_name }}.training.checkpoint import CheckpointContents

from small import composed

SECRETS = {  # the secret is what contains the word hush
    "a password in a URL": "git clone https://me:hush/hush@example.org/a.git",
    "a token in a URL": "https://hush@example.org",
    "a database": "postgresql+psycopg2://admin:hush@db:5432/photos",
    "GitHub": "ghp_hush5678901234567890",
    "Hugging Face": "use hf_hush5678901234567890 here",
    "a bearer": "Authorization: Bearer hush.hush",
    "an option": "upload --api-token hush --fast",
    "passwd": "PGPASSWD=hush",
    "YAML": "client_secret:\n  hush",
    "quotes": 'password = "several words: hush"',
    "JSON": '{"api_key": "hush"}',
    "no quotes": "passphrase key: several words hush",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_a_secret_in_a_text_is_redacted(text):
    assert "hush" not in without_secrets(text)
    assert without_secrets(without_secrets(text)) == without_secrets(text)


@pytest.mark.parametrize(
    "text",
    ["KeyError: 'lr'", "http://127.0.0.1:8080/a?b=c@d", "model.backbone=resnet10t", "a@b.de"],
)
def test_a_text_without_secrets_stays_as_it_is(text):
    assert without_secrets(text) == text


def test_the_command_and_the_reason_of_a_failure_are_written_without_secrets(
    workplace, monkeypatch
):
    monkeypatch.setenv("OWN_TOKEN", "planted-planted")
    monkeypatch.setenv("KEY_FILE", str(workplace))
    monkeypatch.setattr(sys, "argv", ["train", "a.api_key=planted", "b=planted-planted", "seed=1"])
    assert environment()["command"] == "train 'a.api_key=***' 'b=***' seed=1"
    run = Run(workplace / "runs" / "one")
    run.fail(f"the server says no to planted-planted in {workplace}")
    assert run.failure.read_text() == f"the server says no to *** in {workplace}\n"


def test_settings_are_stored_without_secrets_and_resumed_with_those_of_the_command(workplace):
    tracker = {"_target_": "some.Logger", "api_token": "hush", "pin_key": 1, "url": "a://b:hush@c"}
    config = resolved(composed("tracking=none")) | {"tracking": {"mine": tracker}}
    settings, checkpoint = check(config, Settings), {}
    run = Run(workplace / "runs" / "one")
    run.create(settings)
    trainer = SimpleNamespace(global_step=1)
    CheckpointContents(settings, ["a"]).on_save_checkpoint(trainer, None, checkpoint)
    stored = {"_target_": "some.Logger", "api_token": "***", "pin_key": "***", "url": "a://***@c"}
    assert run.settings["tracking"] == checkpoint["settings"]["tracking"] == {"mine": stored}
    assert overridden(run.settings, config, [])["tracking"]["mine"] == tracker


def test_a_password_in_the_address_of_a_database_is_redacted_in_any_setting():
    settings = {"storage": "postgresql://host/db?user=a&password=hush&sslmode=require"}
    stored = "postgresql://host/db?user=a&password=***&sslmode=require"
    assert redacted(settings) == {"storage": stored}
    settings = {"a": "['http://h/?token=a,b&c=1',https://h/?token=a,https://h]", "b": "x&y_key=1/z"}
    hidden = "['http://h/?token=***&c=1',https://h/?token=***,https://h]"
    assert redacted(settings) == {"a": hidden, "b": "x&y_key=1/z"}


def test_paths_and_patterns_of_the_data_are_stored_as_they_are(workplace):
    words = ("data=shapes", "data.root='photos_key=3/token:4'", "runs='pwd=1'")
    settings = check(composed(*words), Settings)
    run = Run(workplace / "runs" / "one")
    run.create(settings)
    assert run.settings["data"]["root"] == "photos_key=3/token:4"
    assert run.settings["runs"] == "pwd=1"


def test_the_value_of_a_secret_variable_is_stored_nowhere(workplace, monkeypatch):
    monkeypatch.setenv("STORAGE_API_KEY", "planted-planted")
    settings, checkpoint = check(composed("data.root='store/planted-planted'"), Settings), {}
    run = Run(workplace / "runs" / "one")
    run.create(settings)
    trainer = SimpleNamespace(global_step=1)
    CheckpointContents(settings, ["a"]).on_save_checkpoint(trainer, None, checkpoint)
    assert run.settings["data"]["root"] == checkpoint["settings"]["data"]["root"] == "store/***"


def test_a_folder_may_have_the_name_that_is_the_value_of_a_secret_variable(workplace, monkeypatch):
    monkeypatch.setenv("KEYVAULT_NAME", "research")
    (workplace / "research").mkdir()
    run = Run(workplace / "runs" / "one")
    run.create(check(composed("data=shapes", f"data.root={workplace}/research"), Settings))
    assert run.settings["data"]["root"] == f"{workplace}/research"


def test_a_stranger_reads_no_environment_runs_no_code_and_chooses_no_folder(
    train, command, workplace, monkeypatch
):
    run = train("trainer.max_epochs=1")
    (workplace / "planted.py").write_text("raise SystemExit('The code of a stranger has run.')")
    monkeypatch.syspath_prepend(workplace)
    monkeypatch.setenv("PLANTED", "planted-planted")
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    content["settings"]["runs"] = "${oc.env:PLANTED}"
    content["settings"]["tracking"] = {"_target_": "planted.Logger", "name": "${oc.env:PLANTED}"}
    content["settings"]["data"]["root"] = str(workplace / "${oc.env:PLANTED}" / ".." / "elsewhere")
    torch.save(content, "stranger.ckpt")
    words = ["checkpoint=stranger.ckpt", "tracking=none", "trainer=cpu"]
    runs = [
        command("evaluate", *words),
        command("predict", *words, f"source={next((workplace / 'data').rglob('0*.png'))}"),
        # ~ if cookiecutter.scope == "complete"
        command("export", *words, "format=torch"),
        # ~ endif
    ]
    for path in (path for run in runs for path in run.rglob("*") if path.is_file()):
        assert b"planted-planted" not in path.read_bytes(), path
    assert {path.name for path in workplace.iterdir()} == {
        "data", "planted.py", "runs", "stranger.ckpt",
    }  # fmt: skip
    for setting, value in (("_target_", "planted.Logger"), ("save_dir", "/tmp/planted")):
        tracker = {"_target_": "lightning.pytorch.loggers.TensorBoardLogger", "save_dir": "runs"}
        stored = content["settings"] | {"tracking": {"own": tracker | {setting: value}}}
        (run / "config.yaml").write_text(yaml.safe_dump(stored))
        with pytest.raises(SystemExit, match=f"{setting}={value}, which is used only if you name"):
            command("train", f"resume={run.name}", "trainer.max_epochs=2")
