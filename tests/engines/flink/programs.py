"""Fetches Flink from PyPI, Beam's part of it with Maven, and Prism with Go: `python -m tests.engines.flink.programs`.

Without Go there is no Prism. Status 2 says that the tests cannot run here, and why.

Beam's job server is not on every mirror of Maven Central, but these libraries of it are; as one jar they do the same.
Variables: FLINK, the folder for them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from job_runtime import command
from job_runtime.problem_report import UserError

FLINK = "apache-flink-libraries==1.20.5"
BEAM = ("beam-runners-flink-1.19", "2.62.0")  # the newest that mirrors have whole
FOLDER = Path(os.environ.get("FLINK", "../flink")).resolve()
JOB_JAR = "job.jar"
PRISM = "prism"
MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.71.0"  # the newest that all mirrors have
NEEDED = {"java": "openjdk-17-jre-headless", "mvn": "maven", "unshare": "util-linux", "ip": "iproute2"}
TWO_HOSTS = "unshare --map-root-user --net ip link add cable0 type veth peer name cable1"
SERVICES = "META-INF/services/"
NOT_OURS = re.compile(r"META-INF/(MANIFEST\.MF|.*\.(SF|RSA|DSA))|(.*/)?module-info\.class|.*/", re.IGNORECASE)
PROJECT = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>flink</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.beam</groupId><artifactId>{BEAM[0]}</artifactId><version>{BEAM[1]}</version>
<exclusions><exclusion><groupId>org.apache.flink</groupId><artifactId>*</artifactId></exclusion>
<exclusion><groupId>com.google.cloud</groupId><artifactId>*</artifactId></exclusion>
<exclusion><groupId>org.apache.beam</groupId>
<artifactId>beam-sdks-java-extensions-google-cloud-platform-core</artifactId></exclusion></exclusions></dependency>
</dependencies></project>
"""


def main(_: Sequence[str]) -> int:
    if problems := missing():
        raise UserError(problems)
    fetch(FOLDER)
    try:
        build_prism(FOLDER)
    except UserError as error:
        print(f"no test on Prism: {error.problems[0]}")
    return command.OK


def missing() -> list[str]:
    """Sentences on what the tests need and this machine has not."""
    problems = [
        f"{program} is not installed; on Debian: apt-get install {package}"
        for program, package in NEEDED.items()
        if shutil.which(program) is None
    ]
    if not problems:
        done = subprocess.run(TWO_HOSTS.split(), capture_output=True, text=True)
        if done.returncode:
            problems.append(f"a network for two hosts cannot be made here: {done.stderr.strip()}")
    return problems


def fetch(folder: Path) -> None:
    """Fills the folder: `lib`, Flink's jars, and the job server's jar. What is there is kept.

    Raises:
      UserError: a package cannot be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        work = Path(scratch)
        if not (folder / "lib").exists():
            _run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), FLINK)
            (archive,) = work.glob("*.tar.gz")
            with tarfile.open(archive) as opened:
                opened.extractall(work / "flink", filter="data")
            (lib,) = (work / "flink").glob("*/deps/lib")
            lib.rename(folder / "lib")
        if not (folder / JOB_JAR).exists():
            (work / "pom.xml").write_text(PROJECT)
            line = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={work / 'beam'}"]
            _run("mvn", "--quiet", "--batch-mode", "--file", str(work / "pom.xml"), *line)
            join(sorted((work / "beam").glob("*.jar")), work / JOB_JAR)
            (work / JOB_JAR).rename(folder / JOB_JAR)


def build_prism(folder: Path) -> None:
    """Adds Prism to the folder, if it is not there.

    Raises:
      UserError: Go is missing, or could not build it.
    """
    if not (folder / PRISM).exists():
        _run("go", "install", "-trimpath", "-ldflags=-s", MODULE, GOBIN=str(folder))


def join(jars: Iterable[Path], path: Path) -> None:
    """One jar of many: of equal names the first file, but all lines of those that name services."""
    services: dict[str, list[str]] = {}
    seen: set[str] = set()
    with zipfile.ZipFile(path, "w") as joined:
        joined.writestr(
            "META-INF/MANIFEST.MF",
            "Manifest-Version: 1.0\nMain-Class: org.apache.beam.runners.flink.FlinkJobServerDriver\n\n",
        )
        for jar in jars:
            with zipfile.ZipFile(jar) as opened:
                for name in opened.namelist():
                    if name.startswith(SERVICES) and not name.endswith("/"):
                        services.setdefault(name, []).append(opened.read(name).decode())
                    elif name not in seen and not NOT_OURS.fullmatch(name):
                        seen.add(name)
                        joined.writestr(name, opened.read(name))
        for name, texts in services.items():
            joined.writestr(name, "\n".join(texts))


def _run(*line: str, **variables: str) -> None:
    try:
        subprocess.run(line, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables})
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise UserError([f"{Path(line[0]).name} did not fetch what the tests need: {error}"]) from error


if __name__ == "__main__":
    command.exit_process(command.run("python -m tests.engines.flink.programs", main))
