"""Memorisation: the longest run of notes that a piece shares with any piece of a dataset, in any key.

    python -m generation_jobs.memorisation --data dataset --output train.index

writes the index of the training split once; `generation_jobs.compare` builds one itself where none is given.

A run is a stretch of consecutive notes of both pieces in which each step to the next note agrees: the same interval,
and about the same time (`generation_jobs.memorisation.note_strings` says exactly which notes follow one another and
which times agree). The longest is found exactly. A primer's notes are not looked at; what goes on as its source does is
a run like any other. docs/memorisation.md says more.
"""

from __future__ import annotations

from collections.abc import Sequence

from generation_jobs.memorisation.corpus_index import build
from job_runtime import command
from midi_codec.dataset import dataset_info


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m generation_jobs.memorisation", __doc__)
    parser.add_argument("--data", required=True, help="dataset folder, as encode_corpus wrote it")
    parser.add_argument("--output", required=True, help="index file to write")
    args = parser.parse_args(argv)
    info = dataset_info.load(args.data)
    if not info.splits["train"].num_pieces:
        raise command.UserError(f"--data {args.data!r} has no piece in its train split, want some to index")
    index = build(args.data, info)
    index.save(args.output)
    print(f"{len(index.text):,} notes of {len(index.piece_ids):,} pieces in {args.output}")
    return command.OK


if __name__ == "__main__":
    command.exit_process(command.run("python -m generation_jobs.memorisation", main))
