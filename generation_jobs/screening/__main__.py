"""Computes thresholds from a dataset, to find generated pieces with faults that the corpus does not have.

    python -m generation_jobs.screening --data dataset --output thresholds.json

Each check of `midi_codec.measures.screen_checks` has a threshold: the 99.9 % quantile of its values in windows of
256 notes of the training split. One more, copied_notes, is the 99.9 % quantile of the longest runs that pieces of the
validation split share with the training split; it counts where an index is given (`generation_jobs.memorisation`).
The share of the validation split that all this rejects is printed, and written to the file. docs/evaluate_music.md says
more.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence

from generation_jobs.memorisation import corpus_index
from job_runtime import command, storage
from job_runtime.command_line.flags import Parser
from job_runtime.command_line.numerals import counted
from job_runtime.problem_report import UserError
from midi_codec.dataset import split_reader
from midi_codec.measures import screen_checks
from midi_codec.measures.thresholds import fit, limit_copies, reject_shares
from trainer import box_model


def make_parser() -> Parser:
    parser = command.make_parser("python -m generation_jobs.screening", __doc__)
    parser.add_argument("--data", required=True, help="a dataset folder, as encode_corpus wrote it")
    parser.add_argument("--output", required=True, help="a thresholds file to write, JSON")
    return parser


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    problems = storage.output_problems("--output", args.output, is_file=True)
    with command.collecting(problems):
        args.data = box_model.resolve_data(args.data, None)
        info = split_reader.load_trainable(args.data)
    if problems:
        raise UserError(problems)
    train, validation = (
        (piece.notes for piece in split_reader.read_split(args.data, info, split, label="screening"))
        for split in ("train", "validation")
    )
    screen = fit(train, time_base=info.time_base, dataset=info.hash)
    held_out = list(validation)
    screen = limit_copies(screen, corpus_index.build(args.data, info), held_out)
    shares = reject_shares(collections.Counter(screen.judge_notes(notes, 0, ended=True).reasons for notes in held_out))
    storage.write_bytes(args.output, screen.to_json(validation_rejects=shares).encode())
    for name, value in screen.thresholds.items():
        word = "at least" if name in screen_checks.LOW else "at most"
        print(f"{name:<16} {word:>8} {value:g}")
    if held_out:
        reasons = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items() if name != "any")
        pieces = counted(len(held_out), "validation piece")
        print(f"rejects {100 * shares['any']:.1f} % of {pieces}: {reasons or 'none'}")
    return command.OK


if __name__ == "__main__":
    command.exit_process(command.run("python -m generation_jobs.screening", main))
