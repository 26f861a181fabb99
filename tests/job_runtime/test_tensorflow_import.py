"""A large library is imported without what it imports and nobody uses; nothing else changes for it or for others."""

import os
import subprocess
import sys
from pathlib import Path

LIBRARY = """
import gc
try:
    import pandas
except ModuleNotFoundError as error:
    found = str(error)
else:
    found = pandas.WHO
is_collecting = gc.isenabled()
"""
PROGRAM = """
import gc
from job_runtime import tensorflow_import
prepare = lambda: print("prepared")
tensorflow_import.watch(prepare, "large_library")
tensorflow_import.watch(prepare, "large_library")
print("watching")
import large_library
print(large_library.found, large_library.is_collecting, gc.isenabled())
import pandas
print(pandas.WHO)
"""


def run(folder: Path, program: str) -> list[str]:
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{os.getcwd()}"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_pandas_is_absent_only_during_the_import(tmp_path: Path) -> None:
    (tmp_path / "large_library.py").write_text(LIBRARY)
    (tmp_path / "pandas.py").write_text("WHO = 'ours'")
    assert run(tmp_path, PROGRAM) == ["watching", "prepared", "No module named 'pandas' False True", "ours"]


def test_a_failed_import_leaves_pandas_alone(tmp_path: Path) -> None:
    (tmp_path / "large_library.py").write_text("1 / 0")
    (tmp_path / "pandas.py").write_text("WHO = 'ours'")
    program = PROGRAM.replace(
        "import large_library\n", "try:\n    import large_library\nexcept ZeroDivisionError: pass\n"
    )
    program = program.replace("print(large_library.found, large_library.is_collecting, ", "print(")
    assert run(tmp_path, program) == ["watching", "prepared", "True", "ours"]


def test_a_library_that_is_not_installed_is_not_found(tmp_path: Path) -> None:
    program = PROGRAM.partition("import large_library")[0] + "import large_library"
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert "ModuleNotFoundError: No module named 'large_library'" in done.stderr
