"""The programs in the README run, and equal the files in examples."""

import re
import subprocess
import sys
from pathlib import Path

import libkv
import pytest

HERE = Path(__file__).parent.parent
README = (HERE / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
QUICKSTART = "revision 2: hello\nrevision 3: goodbye\n"


def test_readme_has_each_example() -> None:
    for file in sorted((HERE / "examples").glob("*.py")):
        assert file.read_text() in PROGRAMS, f"{file.name} and the README differ"
    assert len(PROGRAMS) == 9


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_readme_programs_run(number: int, tmp_path: Path) -> None:
    file = tmp_path / "test_program.py"
    file.write_text(PROGRAMS[number])
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "def test_" in PROGRAMS[number] else []
    done = subprocess.run([sys.executable, *command, file], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    if "Two revisions" in PROGRAMS[number]:
        assert done.stdout == QUICKSTART
        assert f"```text\n{QUICKSTART}```" in README


def test_readme_table_has_every_exception() -> None:
    for name in libkv.__all__:
        if name.endswith("Error") and name != "Error":
            assert f"`{name}`" in README, name


def test_readme_table_has_the_parents_of_exceptions() -> None:
    for row in re.findall(r"^\| (`\w+Error`.*)\|$", README, re.MULTILINE):
        classes, parents, *_ = (re.findall(r"`(\w+)`", cell) for cell in row.split("|"))
        for position, name in enumerate(classes):
            cls = getattr(libkv, name)
            if not parents:
                assert cls.__bases__ == (libkv.Error,), name
                continue
            parent = parents[position] if len(parents) == len(classes) else parents[0]
            assert parent in [base.__name__ for base in cls.__bases__], name
