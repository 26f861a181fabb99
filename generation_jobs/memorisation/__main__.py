"""Writes the index that finds the longest run of notes that a piece shares with a dataset, in any key.

    python -m generation_jobs.memorisation --data dataset --output train.index

It is an index of the training split; without one, `generation_jobs.compare` builds it in memory.
docs/memorisation.md says more.
"""

from __future__ import annotations

from collections.abc import Sequence

from generation_jobs.memorisation.corpus_index import build
from job_runtime import command
from job_runtime.command_line.flags import Parser
from midi_codec.dataset import split_reader
from trainer import box_model


def make_parser() -> Parser:
    parser = command.make_parser("python -m generation_jobs.memorisation", __doc__)
    parser.add_argument("--data", required=True, help="a dataset folder, as encode_corpus wrote it")
    parser.add_argument("--output", required=True, help="an index file to write")
    return parser


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    data = box_model.resolve_data(args.data, None)
    index = build(data, split_reader.load_trainable(data))
    index.save(args.output)
    print(f"{len(index.text):,} notes of {len(index.piece_ids):,} pieces in {args.output}")
    return command.OK


if __name__ == "__main__":
    command.exit_process(command.run("python -m generation_jobs.memorisation", main))
