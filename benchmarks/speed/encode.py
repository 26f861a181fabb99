"""Files encoded per second, against pretty_midi, MidiTok and a bare symusic loop.

    python -m benchmarks.encode [FOLDER ...] [--files N]

Ours is the whole command in one process: start-up with compiled modules, listing, parsing, near-duplicates, shards and
ledgers.
The peers only read: pretty_midi parses, MidiTok makes REMI tokens, and the symusic loop parses and sorts columns. Their
start-up is not counted, and the slow ones read an even selection of the files.

With folders, the corpus is copies of their files with other notes; without, it makes performances. It also measures the
peak memory of a process with a tenth of the corpus and with all of it, the bytes per note on disk for the folders as
they are, and estimates how long a corpus of Lakh's size would take on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from benchmarks.harness import machine, synthetic
from benchmarks.harness.peer_process import PeerProcess, peers_installed
from benchmarks.harness.rounds import Case, Rate, measure, print_report, timed
from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.midi import midi_file

NUM_FILES, MEAN_NOTES, NUM_ROUNDS = 18_000, 2000, 5
QUICK_FILES, QUICK_NOTES = 4, 200
MIN_FILES = 3  # with fewer a split is empty, which the encode refuses
FILES_OF_LAKH = 178_561
MAX_FILES = {"pretty_midi": 40, "miditok": 250}  # per round; the others read all
FILES_PER_CALL = 64  # of `ours_parse`, as in the command
SUFFIXES = {".mid", ".midi"}
RUNNER = "--runner=FnApiRunner"


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m benchmarks.encode", __doc__)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="MIDI files to copy (default: made for the run)")
    parser.add_argument(
        "--files", type=int, default=NUM_FILES, metavar="N", help="size of the corpus (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: only shows that it runs")
    args = parser.parse_args(argv)
    with contextlib.ExitStack() as stack:
        scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-encode-")))
        with_peers = peers_installed(required=not args.quick)
        keep_bytecode(scratch / "bytecode")
        corpus = make_corpus(scratch, args)
        paths = list_files([corpus])
        print(f"{len(paths):,} files, {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB")
        cases = our_cases(paths, corpus, scratch)
        versions: dict[str, str] = {}
        if with_peers:
            chosen = {name: select_evenly(paths, most) for name, most in MAX_FILES.items()}
            chosen["symusic_loop"] = paths
            peer = stack.enter_context(
                PeerProcess("encode", {name: list(map(str, files)) for name, files in chosen.items()})
            )
            versions = peer.versions
            for name, files in chosen.items():
                cases.append(dataclasses.replace(cases[0].of_peer(name, peer.seconds), amount=len(files)))
        rates = measure(cases, num_rounds=1 if args.quick else NUM_ROUNDS)
        figures = dict(take_figures(rates, [pathlib.Path(folder) for folder in args.folders], corpus, scratch))
    print_report(
        "encode",
        rates,
        pairs=[("ours", other) for other in ("pretty_midi", "miditok", "symusic_loop", "ours_beam")]
        + [("ours_two_slices", "ours"), ("ours_parse", "symusic_loop")],
        of_limit={},
        machine=machine.describe(["apache-beam", "symusic", "numpy"], versions),
        figures=figures,
    )
    return command.OK


def keep_bytecode(folder: pathlib.Path) -> None:
    """Compiled modules are kept, as where the package is installed, so that only the first process compiles them."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


def make_corpus(scratch: pathlib.Path, args: argparse.Namespace) -> pathlib.Path:
    folder = scratch / "corpus"
    folder.mkdir()
    num_files, mean_notes = (QUICK_FILES, QUICK_NOTES) if args.quick else (args.files, MEAN_NOTES)
    if args.folders:
        originals = list_files([pathlib.Path(folder) for folder in args.folders])
        num_notes = synthetic.write_copies(folder, originals, num_files=num_files)
    else:
        num_notes = synthetic.write_corpus(folder, num_files=num_files, mean_notes=mean_notes)
    print(f"made {num_files:,} files, {num_notes:,} notes")
    return folder


def list_files(folders: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """MIDI files below the folders, sorted.

    Raises:
      UserError: a folder is missing or holds none.
    """
    by_folder = {
        folder: sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) for folder in folders
    }
    empty = [f"{folder} holds no MIDI file" for folder, paths in by_folder.items() if not paths]
    if empty:
        raise UserError(empty)
    return [path.resolve() for paths in by_folder.values() for path in paths]


def select_evenly(paths: Sequence[pathlib.Path], most: int) -> list[pathlib.Path]:
    """At most `most` of the files, evenly spread."""
    return list(paths[:: -(-len(paths) // most)])


def our_cases(paths: Sequence[pathlib.Path], corpus: pathlib.Path, scratch: pathlib.Path) -> list[Case]:
    outputs = (scratch / f"dataset-{number}" for number in itertools.count())

    def encode(*flags: str) -> None:
        output = next(outputs)
        run(start(corpus, output, *flags))
        shutil.rmtree(output)

    def two_slices() -> None:
        output = next(outputs)
        slices = [start(corpus, output, "--task-index", str(index), "--num-tasks", "2") for index in range(2)]
        run(*slices)
        run(start(corpus, output))
        shutil.rmtree(output)

    def parse() -> None:
        for begin in range(0, len(paths), FILES_PER_CALL):
            midi_file.parse_many([path.read_bytes() for path in paths[begin : begin + FILES_PER_CALL]])

    runs = {"ours": encode, "ours_beam": lambda: encode(RUNNER), "ours_two_slices": two_slices, "ours_parse": parse}
    return [Case(name, timed(function), len(paths), "files") for name, function in runs.items()]


def start(folder: pathlib.Path, output: pathlib.Path, *flags: str) -> subprocess.Popen[str]:
    command_line = [sys.executable, "-m", "beam_pipelines.encode_corpus", "--input", str(folder.resolve())]
    return subprocess.Popen(
        [*command_line, "--output", str(output), *flags],
        cwd=machine.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*processes: subprocess.Popen[str]) -> float:
    """Waits for all processes; returns the largest peak memory of one in MB."""
    peaks = []
    for process in processes:
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}:\n{errors}")
        peaks.append(usage.ru_maxrss / 1024)
    return max(peaks)


def take_figures(
    rates: dict[str, Rate], folders: Sequence[pathlib.Path], corpus: pathlib.Path, scratch: pathlib.Path
) -> Iterator[tuple[str, float]]:
    """Memory, size on disk, and the time for a corpus of Lakh's size."""
    tenth = scratch / "tenth"
    tenth.mkdir()
    paths = list_files([corpus])
    for path in paths[:: max(1, min(10, len(paths) // MIN_FILES))]:
        os.link(path, tenth / path.name)
    for name, flags in (("ours", ()), ("ours_beam", (RUNNER,))):
        for size, folder in (("tenth", tenth), ("all", corpus)):
            yield f"{name}_peak_mb_{size}", run(start(folder, scratch / f"{name}-{size}", *flags))
    yield "minutes_of_lakh_on_two_cores", FILES_OF_LAKH / rates["ours_two_slices"].median / 60
    for folder in folders or [corpus]:
        output = scratch / f"of-{folder.name}"
        run(start(folder, output))
        info = dataset_info.load(str(output))
        num_bytes = sum(path.stat().st_size for path in output.glob("*.tfrecord"))
        yield f"bytes_a_note_{folder.name}", num_bytes / sum(split.num_notes for split in info.splits.values())


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.encode", main))
