"""What a run was made with is written down, and told when a part of it is missing."""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from edarts import EdartsError, registry
from edarts.runs import environment
from edarts.runs.environment import explain
from edarts.runs.folder import open_run, reading


def written(folder: Path) -> dict[str, object]:
    with open_run(folder, {"epochs": 3}):
        pass
    found: dict[str, object] = json.loads((folder / "environment.json").read_text())
    return found


def test_versions_and_revision(tmp_path: Path) -> None:
    environment = written(tmp_path)
    versions, revision = environment["versions"], environment["revision"]
    assert isinstance(versions, dict) and versions["torch"] == torch.__version__
    if (Path(__file__).parents[2] / ".git").exists():  # a clone, or another working tree of one
        assert isinstance(revision, str) and len(revision) == 40


def test_plugins_in_use_are_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_used", {"methods tiny": "tiny-package 1.0"})
    assert written(tmp_path)["plugins"] == {"methods tiny": "tiny-package 1.0"}


def missing(group: str, name: str) -> registry.UnknownPlugin:
    with pytest.raises(registry.UnknownPlugin) as caught:
        registry.get(group, name)
    return caught.value


def test_a_missing_plugin_is_told_with_its_package(tmp_path: Path) -> None:
    plugins = {"recipes tiny": "tiny-package 1.0", "recipes mine": "an object handed in"}
    (tmp_path / "environment.json").write_text(json.dumps({"plugins": plugins}))
    with pytest.raises(EdartsError) as caught, reading(tmp_path):
        registry.get("recipes", "tiny")
    text = str(caught.value)
    assert "recipe tiny" in text and "made with tiny-package 1.0" in text
    assert text.endswith("pip install tiny-package") and "\n" not in text
    text = str(explain(tmp_path, missing("recipes", "mine")))
    assert "an object handed in" in text and "pip" not in text


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"plugins": {"recipes tiny": "x 1"}}'])
def test_what_the_run_does_not_know_stays_as_it_is(tmp_path: Path, content: str | None) -> None:
    """No environment.json, a damaged one, one of version 0.1, or one with other plug-ins."""
    if content is not None:
        (tmp_path / "environment.json").write_text(content)
    error = missing("recipes", "shalow")
    assert explain(tmp_path, error) is error
    assert "did you mean shallow" in str(error)


def test_the_revision_is_not_lost_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git cannot be started for want of files or memory, the run ends."""

    def ran(code: int, err: str) -> None:
        done = subprocess.CompletedProcess([], code, "", err)
        monkeypatch.setattr(subprocess, "run", lambda *a, **k: done)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    ran(128, "fatal: not a git repository")
    assert environment.environment()["revision"] is None
    ran(128, "fatal: cannot open '.git/HEAD': Too many open files")
    with pytest.raises(OSError, match="Too many open files"):
        environment.environment()
    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        environment.environment()
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: (_ for _ in ()).throw(FileNotFoundError))
    assert environment.environment()["revision"] is None
