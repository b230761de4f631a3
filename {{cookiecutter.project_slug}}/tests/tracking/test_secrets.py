"""A key reaches nothing, and what is told of the code and the data says enough."""

import subprocess

from {{ cookiecutter.package_name }}.tracking import facts

from tracked import KEY


def test_a_key_reaches_nothing(tracked, workplace, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    git("init", "-q")
    (workplace / "own.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "-qm", "one", "--author", "a <a@b.c>")
    (workplace / "own.py").write_text(f"x = 2\nkey = '{KEY}'\npassword: hush-hush\n")
    run = tracked("tracking.mode=offline", "trainer.max_epochs=1")
    patch = (run / "uncommitted.patch").read_text()
    assert "+x = 2" in patch
    assert "hush-hush" not in patch
    for path in run.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def git(*words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *identity, *words], check=True)


def test_secret_looking_settings_are_masked():
    tree = {"a": {"api_key": "x", "monitor": "y"}, "password": ""}
    assert facts.masked(tree) == {"a": {"api_key": "***", "monitor": "y"}, "password": ""}


def test_the_fingerprint_changes_with_names_sizes_and_annotations(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"12")
    (tmp_path / "labels.json").write_text("{}")
    seen = [facts.fingerprint(tmp_path)]
    assert facts.fingerprint(tmp_path) == seen[0]
    (tmp_path / "labels.json").write_text("[]")
    seen.append(facts.fingerprint(tmp_path))
    (tmp_path / "a" / "1.jpg").write_bytes(b"123")
    seen.append(facts.fingerprint(tmp_path))
    (tmp_path / "a" / "1.jpg").rename(tmp_path / "a" / "2.jpg")
    seen.append(facts.fingerprint(tmp_path))
    assert len(set(seen)) == 4
    assert all(len(one) == 12 for one in seen)


def test_equal_settings_have_equal_hashes():
    one = {"a": 1, "b": {"c": 2}, "command": "x", "git": {}}
    assert facts.config_hash(one) == facts.config_hash(one | {"command": "y"})
    assert facts.config_hash(one) != facts.config_hash(one | {"a": 2})
