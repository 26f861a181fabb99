"""The file of an environment: all that the manifests leave open, as NAME=value lines that a shell could read too."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping

REFERENCE = re.compile(r"\$\{([A-Z0-9_]+)\}")

WHOLE = (r"[1-9][0-9]*", "a whole number, 1 or more")
CORES = (r"[1-9][0-9]*|[1-9][0-9]*m", "cores: 4, or 500m")
SIZE = (r"[1-9][0-9]*[KMGT]i", "a size: 512Mi, 16Gi")
PATH = (r"(gs://|s3://|/)[^\s'\"\\{}$]+", "a path that pods can reach: gs://BUCKET/..., s3://BUCKET/... or /...")
IMAGE = (
    r"[a-z0-9][a-z0-9./:_-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})",
    "an image with a tag or a digest: REGISTRY/encode:0.1.0, REGISTRY/encode@sha256:...",
)
NAME = (r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "a name of small letters, digits and hyphens")
NAMES = (rf"{NAME[0]}( {NAME[0]})*", "names of folders, separated by spaces")
FLAGS = (r"(--[a-z][^\n$]*)?", "flags of the command, separated by spaces, or nothing")
VARIABLES = {
    "PROJECT": (r"[a-z][a-z0-9-]{4,28}[a-z0-9]", "the id of a Google Cloud project"),
    "BUCKET": (r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", "the name of a bucket, without gs://"),
    "REGION": (r"[a-z]+(-[a-z]+)+[0-9]+", "a region: europe-west1"),
    "REGISTRY": (r"[a-z0-9][a-z0-9./:_-]*", "where images were pushed to, without https:// and tag"),
    **dict.fromkeys(
        ("ENCODE_IMAGE", "TRAINER_IMAGE", "GENERATOR_IMAGE", "POSTGRES_IMAGE", "DATAFLOW_IMAGE"),
        IMAGE,
    ),
    **dict.fromkeys(("JOBS", "COMPONENTS"), NAMES),
    **dict.fromkeys(("NAMESPACE", "QUEUE", "STORAGE_CLASS", "GPU_TYPE"), NAME),
    **dict.fromkeys(("CPU_MACHINE_TYPE", "TRAIN_MACHINE_TYPE", "DATAFLOW_MACHINE_TYPE"), NAME),
    "SUFFIX": (r"(-[a-z0-9-]{0,18}[a-z0-9])?", "nothing, or a hyphen and up to 19 small letters, digits and hyphens"),
    **dict.fromkeys(
        ("CORPUS", "DATASET", "RUN", "TUNED", "SEEDS", "MUSIC", "REPORTS", "EXPORTED", "DATAFLOW_TEMP"), PATH
    ),
    **dict.fromkeys(("TRAIN_SETTINGS", "TUNE_SPACE"), PATH),
    **dict.fromkeys(("ENCODE_PODS", "TRAIN_PODS", "TUNE_PODS", "GENERATE_PODS", "DATAFLOW_WORKERS"), WHOLE),
    **dict.fromkeys(("GPUS", "TUNE_TRIALS", "NUM_SEEDS", "SAMPLES_PER_SEED"), WHOLE),
    **dict.fromkeys(("ENCODE_DEADLINE", "TRAIN_DEADLINE", "GENERATE_DEADLINE"), WHOLE),
    **dict.fromkeys(("ENCODE_CPU", "TRAIN_CPU", "GENERATE_CPU", "REPORT_CPU"), CORES),
    **dict.fromkeys(("ENCODE_MEMORY", "TRAIN_MEMORY", "GENERATE_MEMORY", "REPORT_MEMORY", "FINISH_MEMORY"), SIZE),
    **dict.fromkeys(("VOLUME_SIZE", "QUEUE_MEMORY"), SIZE),
    "QUEUE_CPU": WHOLE,
    "QUEUE_GPUS": (r"[0-9]+", "a whole number"),
    **dict.fromkeys(
        ("ENCODE_FLAGS", "TRAIN_FLAGS", "TUNE_FLAGS", "SEEDS_FLAGS", "GENERATE_FLAGS", "EVALUATE_FLAGS"), FLAGS
    ),
    "DATAFLOW_ACCOUNT": (r"[a-z0-9-]+@[a-z0-9.-]+", "the e-mail address of a service account"),
    "DATAFLOW_SUBNETWORK": (r"(https://|regions/)[a-z0-9./-]+", "regions/REGION/subnetworks/NAME"),
    "ACCESS_MODE": (r"ReadWrite(Once|Many)", "ReadWriteOnce or ReadWriteMany"),
}


class Environment:
    """What a file sets, and everything that is wrong with it.

    Attributes:
      values: by name; those that fit.
      problems: sentences that begin with a location.
    """

    def __init__(self, path: str, text: str):
        self.path = path
        self.values: dict[str, str] = {}
        self.problems: list[str] = []
        self._lines: dict[str, int] = {}
        self._needs: dict[str, list[str]] = {}
        self._wrong: set[str] = set()  # and said to be
        for number, line in enumerate(text.split("\n"), 1):
            for problem in self._read(line, number):
                self.problems.append(f"{path}:{number}: {problem}")

    def _read(self, line: str, number: int) -> Iterator[str]:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            yield f"{line!r}: {error}, want NAME=value"
            return
        if not words:
            return
        name, equals, value = words[0].partition("=")
        if len(words) > 1 or not equals:
            yield f"{line!r}, want NAME=value, in quotes if it has spaces"
        elif name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, n=1)
            yield f"{name} is not known" + (f", did you mean {near[0]}?" if near else "")
        elif name in self._lines:
            yield f"{name} is set again, after line {self._lines[name]}"
        else:
            self._lines[name] = number
            yield from self._set(name, value)

    def _set(self, name: str, value: str) -> Iterator[str]:
        pattern, wanted = VARIABLES[name]
        self._needs[name] = REFERENCE.findall(value)
        unknown = [each for each in self._needs[name] if each not in self._lines]
        if unknown:
            yield f"{name} refers to {', '.join(unknown)}, want names that are set further up"
            self._wrong.add(name)
        elif all(each in self.values for each in self._needs[name]):
            value = filled(value, self.values)
            if re.fullmatch(pattern, value):
                self.values[name] = value
            elif value:
                yield f"{name} is {value!r}, want {wanted}"
                self._wrong.add(name)

    def check_set(self, name: str, user: str) -> None:
        """Adds a problem if a value that `user` needs, or one that it refers to, is not set."""
        if name in self.values or name in self._wrong:
            return
        self._wrong.add(name)
        line, wanted = self._lines.get(name), VARIABLES[name][1]
        if line is None:
            self.problems.append(f"{self.path}: {name} is missing, want {wanted}; {user} needs it")
        elif self._needs[name]:
            for each in self._needs[name]:
                self.check_set(each, name)
        else:
            self.problems.append(f"{self.path}:{line}: {name} is not set, want {wanted}; {user} needs it")


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with `${NAME}` replaced; a list item that is only `${..._FLAGS}` becomes an item per flag."""

    def items(found: re.Match[str]) -> str:
        flags = shlex.split(values[found[2]])
        return "".join(f"{found[1]}- {_quoted(flag)}\n" for flag in flags)

    text = re.sub(r"^( *)- \$\{([A-Z_]+_FLAGS)\}\n", items, text, flags=re.MULTILINE)
    return REFERENCE.sub(lambda found: values[found[1]], text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
