"""Renders music as audio files, WAV, Ogg Vorbis or MP3: MIDI files, a generation job's output, or a dataset.

    python -m generation_jobs.render --input songs --output sound
    python -m generation_jobs.render --music music --select kept.csv --output sound --format wav
    python -m generation_jobs.render --data dataset --split validation --max-pieces 20 --output sound

Instruments are those of the General MIDI SoundFont that comes with pretty_midi; no system package is needed. Files that
are there already are not rendered again. docs/render.md says more.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from job_runtime import command
from job_runtime.command_line.flags import Parser
from job_runtime.command_line.numerals import counted
from job_runtime.command_line.settings import add_number
from job_runtime.problem_report import UserError, first_few, sentences

if TYPE_CHECKING:
    from generation_jobs.render.sound_files import Job
    from generation_jobs.render.sources import Piece, Source
    from job_runtime.logs.progress import Progress

PROGRAM = "python -m generation_jobs.render"
FORMATS = ("ogg", "wav", "mp3")
SOURCES = ("input", "music", "data")
SPLITS = ("train", "validation", "test")


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    source, pieces = _check(args, problems)

    from generation_jobs.render import sound_files, sources
    from job_runtime import storage
    from job_runtime.logs.progress import progress
    from job_runtime.processes import num_cores

    pieces, problems = sources.with_safe_names(pieces)
    storage.delete_leftovers(args.output)
    num_processes = args.num_processes or max(1, min(num_cores(), len(pieces)))
    num_new = num_there = 0
    cut: list[str] = []
    with command.StopSignal() as stop, progress(total=len(pieces), unit="pieces", label="rendering") as bar:
        jobs = _jobs(args, source, pieces, problems, bar)
        for done in sound_files.write_all(jobs, num_processes=num_processes, stop=stop):
            bar.update(1)
            if done.problem:
                problems.append(done.problem)
                continue
            num_new, num_there = num_new + done.is_new, num_there + (not done.is_new)
            if done.job.is_cut:
                cut.append(done.job.path)
    print(
        f"{counted(num_new + num_there, 'audio file')} in {args.output}: "
        f"{num_new:,} rendered, {num_there:,} there already"
    )
    if source.num_empty:
        print(f"{counted(source.num_empty, 'piece')} without notes: no audio file")
    if cut:
        print(f"longer than --max-minutes {args.max_minutes:g}, and faded out there: {first_few(sorted(cut))}")
    if problems:
        raise UserError(sentences(args.output, [(0, problem) for problem in problems]))
    return command.OK


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--input", nargs="+", action="extend", metavar="PATH", help="MIDI files: folders, globs in quotes, or files")
    add("--music", help="or the output folder of generation_jobs.generate")
    add("--data", help="or a dataset, as encode_corpus wrote it, or box")
    add("--split", choices=SPLITS, help="of the dataset (default: all splits)")
    add("--select", metavar="LIST", help="only pieces that this list names, as the report exports it (default: all)")
    add_number(parser, "--max-pieces", None, "only the first N pieces", at_least=1)
    add("--output", required=True, help="a folder, for the audio files")
    add("--format", choices=FORMATS, default=FORMATS[0], help="kind of audio file (default: %(default)s)")
    add_number(parser, "--max-minutes", 10.0, "fade out a longer piece at X minutes", kind=float, above=0, at_most=60)
    add_number(parser, "--num-processes", None, "render N pieces at a time; none: one per core", at_least=1)
    return parser


def _check(args: argparse.Namespace, problems: list[str]) -> tuple[Source, list[Piece]]:
    """The source, and the pieces that are asked for.

    Raises:
      UserError: all problems at once.
    """
    from generation_jobs.render import sources
    from job_runtime import storage
    from trainer import box_model

    given = [f"--{name}" for name in SOURCES if getattr(args, name)]
    if len(given) != 1:
        what = f"{' and '.join(given)} are given" if given else "nothing to render is given"
        problems.append(f"{what}, want one of --input, --music and --data")
    if args.split and not args.data:
        problems.append(f"--split is {args.split!r}, but only --data has splits")
    problems += storage.output_problems("--output", args.output)
    source, pieces = None, []
    with command.collecting(problems):
        if args.input:
            source = sources.midi_files(args.input)
    with command.collecting(problems, "--music"):
        if args.music:
            source = sources.generated_music(args.music)
    with command.collecting(problems, "--data"):
        if args.data:
            source = sources.dataset_pieces(box_model.resolve_data(args.data, None), args.split)
    with command.collecting(problems, "--select"):
        if source is not None and len(given) == 1:
            pieces = source.choose(args.select, args.max_pieces)
    if problems or source is None:
        raise UserError(problems)
    return source, pieces


def _jobs(
    args: argparse.Namespace, source: Source, pieces: Sequence[Piece], problems: list[str], bar: Progress
) -> Iterator[Job]:
    """A job for each piece that can be read; the others become problems."""
    from generation_jobs.render.sound_files import Job
    from job_runtime import storage

    for piece, notes in zip(pieces, source.read(pieces), strict=True):
        if isinstance(notes, str):
            problems.append(notes)
            bar.update(1)
        else:
            path = storage.join(args.output, f"{piece.output}.{args.format}")
            yield Job(path, notes, args.format, 60 * args.max_minutes)


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
