"""Fills the manifests of `k8s` with the values of an environment: a folder to give to `kubectl apply -k`.

    python -m scripts.fill_manifests k8s/environments/gke.env --output ../deploy

Every job of JOBS becomes a folder of the output. No tracked file changes. An output that was made before is replaced.
"""

from __future__ import annotations

import pathlib
import shutil
import sys
from collections.abc import Iterator, Sequence

from job_runtime import command
from job_runtime.problem_report import UserError
from scripts.environment import REFERENCE, Environment, filled

PROGRAM = "python -m scripts.fill_manifests"
K8S = pathlib.Path(__file__).resolve().parent.parent / "k8s"
ALWAYS = ("base/common", "components/job", "components/train-config", "monitoring")
MARK = "environment.env"
KUSTOMIZATION = """# Made by {program} from {name}; edit that, not this.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../base/{job}
components:
{components}"""


def read(path: str) -> tuple[Environment, list[pathlib.Path]]:
    """An environment, and the manifests that it asks for.

    Raises:
      UserError: everything that is wrong with the file, and every value that is not set.
    """
    try:
        environment = Environment(path, pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable: {error}") from error
    folders = list(ALWAYS)
    for name, kind in (("JOBS", "base"), ("COMPONENTS", "components")):
        environment.check_set(name, "k8s")
        for each in environment.values.get(name, "").split():
            if (K8S / kind / each / "kustomization.yaml").is_file():
                folders.append(f"{kind}/{each}")
            else:
                known = ", ".join(sorted(folder.name for folder in (K8S / kind).iterdir()))
                environment.problems.append(f"{path}: {name}: there is no {each}, want some of {known}")
    files = [file for folder in dict.fromkeys(folders) for file in sorted((K8S / folder).iterdir())]
    users: dict[str, str] = {}
    for file in files:
        for name in REFERENCE.findall(file.read_text()):
            users.setdefault(name, str(file.relative_to(K8S.parent)))
    for name, user in users.items():
        environment.check_set(name, user)
    if environment.problems:
        raise UserError(environment.problems)
    return environment, files


def texts(environment: Environment, files: Sequence[pathlib.Path]) -> Iterator[tuple[str, str]]:
    """Path in the output, and text, of every file."""
    for file in files:
        yield str(file.relative_to(K8S)), filled(file.read_text(), environment.values)
    components = "".join(f"  - ../components/{each}\n" for each in environment.values["COMPONENTS"].split())
    name = pathlib.Path(environment.path).name
    for job in environment.values["JOBS"].split():
        text = KUSTOMIZATION.format(program=PROGRAM, name=name, job=job, components=components)
        yield f"{job}/kustomization.yaml", text


def write(environment: Environment, files: Sequence[pathlib.Path], output: pathlib.Path) -> None:
    """Writes the folder, whole or not at all.

    Raises:
      UserError: there is a folder that was not made by this.
    """
    if output.exists() and not (output / MARK).is_file():
        raise UserError(f"--output {output} exists and was not made from an environment, want another folder")
    part = output.with_name(f".{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for name, text in texts(environment, files):
        path = part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shutil.copyfile(environment.path, part / MARK)
    shutil.rmtree(output, ignore_errors=True)
    part.rename(output)


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("environment", help="a copy of a file of k8s/environments")
    parser.add_argument("--output", required=True, help="the folder to write")
    args = parser.parse_args(argv)
    environment, files = read(args.environment)
    output = pathlib.Path(args.output)
    write(environment, files, output)
    for job in environment.values["JOBS"].split():
        print(f"kubectl apply -k {output / job}")
    return command.OK


if __name__ == "__main__":
    sys.exit(command.run(PROGRAM, main))
