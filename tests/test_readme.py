"""The README's commands and examples do what they say."""

import re
import shlex
from pathlib import Path

import pytest

from jaxcascade.cli import main
from jaxcascade.records import example_records, write_table

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    if not README.exists():
        pytest.skip("the README is not beside the tests, as in an installed package")
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_python_examples_run():
    space: dict = {}
    for block in blocks("python"):
        exec(compile(block, str(README), "exec"), space)
    assert 0.5 < space["evaluation"].mean_ratio < 1.0
    assert 0.0 < space["outcome"].error < 1.0


def test_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxcascade.cli.entry._prepare_jax", lambda: None)
    for half in ("train", "test"):
        # Those that the last command names: nine models take twice as long to compile.
        records = example_records(half).select(["llama3.1-8b", "llama3.1-70b", "gpt-4o"])
        write_table(records.to_frame(), tmp_path / f"{half}.parquet")
    lines = [line for block in blocks("console") for line in block.splitlines()]
    commands = [
        shlex.split(line, comments=True) for line in lines if line.startswith("jaxcascade ")
    ]
    verbs = [
        "check",
        "tune",
        "evaluate",
        "replay",
        "posterior",
        "worth",
        "budget",
        "segments",
        "monitor",
    ]
    assert [command[1] for command in commands] == verbs
    for command in commands:
        assert main(command[1:]) == 0
    assert (tmp_path / "report.html").stat().st_size > 100_000


def test_make_has_the_targets_named(tmp_path):
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", README.read_text()):
        assert f"\n{target}:" in makefile
