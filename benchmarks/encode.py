"""Files encoded a second, against pretty_midi, MidiTok and a bare symusic loop.

    python -m benchmarks.encode [FOLDER ...]

Ours is the whole command in one process: start-up, listing, parsing, deduplication, shards and ledgers written. The
peers only read: pretty_midi parses; MidiTok makes REMI tokens; the symusic loop parses and sorts columns. Their
start-up is not counted, and the slow ones read every so-manieth file. Without a folder it makes 3,000 performances.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

if not __package__:  # run as a file: the rooms lie one folder up
    sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from benchmarks import machine, synthetic
from benchmarks.peer_process import PeerProcess, peers_installed
from benchmarks.rounds import Case, measure, print_report, timed
from midi_codec import command, midi_file

NUM_FILES, MEAN_NOTES, NUM_ROUNDS = 3000, 2000, 5
QUICK_FILES, QUICK_NOTES = 4, 200
MOST_FILES = {"pretty_midi": 40, "miditok": 250}  # a round; the others read all
SUFFIXES = {".mid", ".midi"}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.encode", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="MIDI files to encode (default: made for the run)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: does it run?")
    args = parser.parse_args(argv)
    with contextlib.ExitStack() as stack:
        scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-encode-")))
        with_peers = peers_installed(required=not args.quick)
        folders = [pathlib.Path(folder) for folder in args.folders] or [make_corpus(scratch, quick=args.quick)]
        paths = list_files(folders)
        print(f"{len(paths):,} files, {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB")
        cases = our_cases(paths, folders, scratch)
        versions: dict[str, str] = {}
        if with_peers:
            chosen = {name: every_so_manieth(paths, most) for name, most in MOST_FILES.items()}
            chosen["symusic_loop"] = paths
            peer = stack.enter_context(
                PeerProcess("encode", {name: list(map(str, files)) for name, files in chosen.items()})
            )
            versions = peer.versions
            for name, files in chosen.items():
                cases.append(dataclasses.replace(cases[0].of_peer(name, peer.seconds), amount=len(files)))
        rates = measure(cases, num_rounds=1 if args.quick else NUM_ROUNDS)
    print_report(
        "encode",
        rates,
        pairs=[("ours", other) for other in ("pretty_midi", "miditok", "symusic_loop")]
        + [("ours_parse", "symusic_loop")],
        of_limit={},
        machine=machine.describe(["apache-beam", "symusic", "numpy"], versions),
    )
    return command.OK


def make_corpus(scratch: pathlib.Path, *, quick: bool) -> pathlib.Path:
    folder = scratch / "corpus"
    folder.mkdir()
    num_files, mean_notes = (QUICK_FILES, QUICK_NOTES) if quick else (NUM_FILES, MEAN_NOTES)
    num_notes = synthetic.write_corpus(folder, num_files=num_files, mean_notes=mean_notes)
    print(f"made {num_files:,} files, {num_notes:,} notes")
    return folder


def list_files(folders: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """MIDI files below the folders, sorted.

    Raises:
      UserError: a folder is missing or holds none.
    """
    found = {
        folder: sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) for folder in folders
    }
    empty = [f"{folder} holds no MIDI file" for folder, paths in found.items() if not paths]
    if empty:
        raise command.UserError(empty)
    return [path.resolve() for paths in found.values() for path in paths]


def every_so_manieth(paths: Sequence[pathlib.Path], most: int) -> list[pathlib.Path]:
    """At most `most` of the files, evenly spread."""
    return list(paths[:: -(-len(paths) // most)])


def our_cases(paths: Sequence[pathlib.Path], folders: Sequence[pathlib.Path], scratch: pathlib.Path) -> list[Case]:
    inputs = [part for folder in folders for part in ("--input", str(folder.resolve()))]
    numbers = itertools.count()

    def encode() -> None:
        output = scratch / f"dataset-{next(numbers)}"
        arguments = [sys.executable, "-m", "beam_pipelines.encode_corpus", *inputs, "--output", str(output)]
        done = subprocess.run(arguments, cwd=machine.ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} ended with status {done.returncode}:\n{done.stderr}")

    def parse() -> None:
        for path in paths:
            with contextlib.suppress(midi_file.MidiError):  # a folder of the user's may hold broken files
                midi_file.parse(path.read_bytes())

    return [Case("ours", timed(encode), len(paths), "files"), Case("ours_parse", timed(parse), len(paths), "files")]


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.encode", main))
