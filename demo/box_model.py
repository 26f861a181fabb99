"""Train the model in the box again: its corpus, dataset, bundle, styles and figures; `make box-model` calls this.

    python -m demo.box_model --music openscore.tar.gz freedoom.tar.gz groove --max-minutes 120

Without --music it learns from the traditional tunes that music21 carries, only. `docs/model_card.md` says where the
other music comes from, and its terms. Everything else that determines the outcome is in `demo/box_model_GRID.yaml` and
in the flags below. Finished steps are not repeated, and an interrupted one resumes. The bundle and the styles replace
those in the package.
"""

from __future__ import annotations

import dataclasses
import lzma
import os
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from demo.steps import StepFailed, Steps
from job_runtime import command, storage
from job_runtime.command import StopSignal
from job_runtime.command_line.settings import add_number
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.dataset.labels import LabelCounts
from midi_codec.dataset.records import Piece
from midi_codec.dataset.split_reader import read_split
from midi_codec.fields import CATEGORY, FieldSpec, FieldTable
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, TIME_BASES, Notes
from trainer import box_model, bundle

PROGRAM = "python -m demo.box_model"
SETTINGS = os.path.join(os.path.dirname(__file__), "box_model_{}.yaml")  # by grid
# Versions of a tune also share a split by title, because some are too short to be found as near-duplicates.
ENCODE = ("--split-percents", "96,4,0", "--group-regex", "([^/]+)--")
DESCRIPTION_BYTES = 100_000  # space for bundle.json beside the weights
STYLES = {  # part of a source of each
    "songs": "openscore/songs/",
    "quartets": "openscore/quartets/",
    "game": "freedoom/",
    "drums": "groove/",
    "tunes": "tunes/",
}
OPENINGS = 24  # of each style


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--music", nargs="+", default=[], metavar="PATH", help="more music: folders and archives of MIDI files")
    add("--time-base", choices=TIME_BASES, default=BEATS, help="grid (default: %(default)s)")
    add_number(parser, "--max-minutes", None, "minutes of training (default: the epochs of --config)", at_least=1)
    add("--folder", default="run/box", help="folder for corpus, dataset, training and figures (default: %(default)s)")
    add("--config", help="settings of the training (default: demo/box_model_GRID.yaml)")
    add_number(parser, "--limit", None, "only the first N tunes, to try it", at_least=1)
    add("--output", default=box_model.root(), help="folder for bundle and styles (default: in the package)")
    args = parser.parse_args(argv)
    folder = args.folder
    tunes = storage.join(folder, "tunes")
    dataset, run, figures = (
        storage.join(folder, f"{name}-{args.time_base}") for name in ("dataset", "training", "figures.json")
    )
    packed = storage.join(args.output, args.time_base)
    limit = [] if args.limit is None else ["--limit", str(args.limit)]
    with StopSignal() as stop:
        steps = Steps(folder, 5, stop)
        try:
            steps.run("tunes", "demo.tunes", ["--output", tunes, *limit], outputs=[tunes])
            encode = ["--input", *args.music, tunes, "--output", dataset, "--time-base", args.time_base, *ENCODE]
            steps.run(f"encode {args.time_base}", "beam_pipelines.encode_corpus", encode, outputs=[dataset])
            config = args.config or SETTINGS.format(args.time_base)
            train = ["--data", dataset, "--output", run, "--config", config]
            train += [] if args.max_minutes is None else ["--max-minutes", str(args.max_minutes)]
            settings = storage.read_text(config)
            steps.run(f"train {args.time_base}", "trainer.task", train, outputs=[run], depends_on=settings)
            pack(storage.join(run, "bundle"), packed)
            if args.time_base == BEATS:
                write_styles(dataset, storage.join(args.output, "styles"))
            corpus = storage.join(args.output, f"corpus_{args.time_base}")
            pack_corpus(dataset, corpus)
            screen = ["--data", corpus, "--output", storage.join(corpus, box_model.THRESHOLDS)]
            steps.run(f"screening {args.time_base}", "generation_jobs.screening", screen, outputs=[screen[-1]])
            measure = ["--bundle", packed, "--data", dataset, "--output", figures]
            steps.run(f"figures {args.time_base}", "trainer.evaluate", measure, outputs=[figures])
        except StepFailed as error:
            print(f"{PROGRAM}: {error}", file=sys.stderr)
            return command.FAULT
    return command.OK


def pack(source: str, output: str) -> None:
    """Copies a bundle with float16 weights and a place for every program.

    Raises:
      UserError: it is too large for the package.
    """
    whole = with_all_programs(bundle.load(source))
    packed = bundle.as_float16(whole, max_bytes=box_model.MAX_BYTES // len(TIME_BASES) - DESCRIPTION_BYTES)
    bundle.save(output, packed)
    size = sum(entry.size for entry in storage.list_files(output))
    print(f"{output}: {size / 1e6:.2f} MB", flush=True)


def with_all_programs(trained: bundle.Bundle) -> bundle.Bundle:
    """The bundle with a place for every program; those that it has not learned start from their family.

    A bundle of a single program stays as it is.
    """
    if "program" not in trained.fields.names:
        return trained
    from trainer.model.model_config import ModelConfig
    from trainer.model.note_model import NoteModel
    from trainer.training.weight_mapping import map_weights

    *others, _ = trained.fields
    programs = FieldSpec(name="program", kind=CATEGORY, values=tuple(range(DRUM_PROGRAM + 1)))
    table = FieldTable((*others, programs), trained.fields.time_base)
    config = ModelConfig(**trained.config)
    fresh = bundle.get_weights(NoteModel(config, table))
    weights = map_weights(trained.weights, trained.fields, table, head_units=config.head_units, fresh=fresh)
    return dataclasses.replace(trained, fields=table, weights=weights)


def pack_corpus(dataset: str, output: str, max_bytes: int = box_model.MAX_CORPUS_BYTES) -> None:
    """Copies a dataset, compressed: its validation split, and of the train split as many pieces as fit, by their hash.

    What is compared with it then misses copies of the other pieces. How many there are is printed. Its info names the
    dataset that it was packed from.
    """
    info = dataset_info.load(dataset)
    pieces = {split: list(read_split(dataset, info, split)) for split in dataset_info.SPLITS}
    all_of_them = train = pieces["train"]
    while len(data := _compressed(train)) > max_bytes:
        train = sorted(train, key=lambda piece: piece.piece_id)[: int(len(train) * 0.95 * max_bytes / len(data))]
    kept = {piece.piece_id for piece in train}
    pieces["train"] = [piece for piece in all_of_them if piece.piece_id in kept]  # a shard is sorted
    for entry in list(storage.list_files(output, missing_ok=True)):
        storage.delete(entry.path)
    for split, own in pieces.items():
        if own:
            path = storage.join(output, f"{dataset_info.shard_name(split, 0, 1)}.xz")
            storage.write_bytes(path, _compressed(own))
    dataset_info.save(output, _info_of(pieces, info))
    size = sum(entry.size for entry in storage.list_files(output))
    print(f"{output}: {len(kept):,} of {len(all_of_them):,} training pieces, {size / 1e6:.2f} MB", flush=True)


def _compressed(pieces: Sequence[Piece]) -> bytes:
    return lzma.compress(records.write_records(map(records.serialize_example, pieces)), preset=9)


def _info_of(pieces: Mapping[str, Sequence[Piece]], info: DatasetInfo) -> DatasetInfo:
    """The info of a dataset with only these pieces of another."""
    notes = {split: [piece.notes for piece in own] for split, own in pieces.items()}
    labels = LabelCounts()
    for split, own in pieces.items():
        for piece in own:
            labels.add(split, piece.labels)
    splits = {
        split: dataset_info.SplitInfo(
            num_pieces=len(own),
            num_notes=sum(map(len, own)),
            seconds=sum(each.seconds for each in own),
            shard_lengths=(len(own),) if own else (),
        )
        for split, own in notes.items()
    }
    return dataclasses.replace(
        info,
        splits=splits,
        programs=tuple(sorted({int(one) for own in notes.values() for each in own for one in set(each.program)})),
        inputs=sum(map(len, notes.values())),
        other_files=0,
        examples=sum(map(len, notes.values())),
        rejects={},
        duplicates=dataset_info.NO_DUPLICATES,
        salvaged={},
        groups=dict.fromkeys(dataset_info.GROUP_COUNTS, 0),
        moved_groups={},
        labels=labels.counts(),
        settings={**info.settings, dataset_info.PACKED_FROM: info.corpus_hash},
        histograms={
            split: {name: _histogram(own, name) for name in dataset_info.COLUMNS} for split, own in notes.items()
        },
    )


def _histogram(notes: Sequence[Notes], column: str) -> dataset_info.Histogram:
    joined = np.concatenate([np.zeros(0, np.int64), *(getattr(each, column) for each in notes)])
    values, counts = np.unique(joined, return_counts=True)
    return dataset_info.Histogram(values=tuple(values.tolist()), counts=tuple(counts.tolist()))


def write_styles(dataset: str, output: str) -> None:
    """Writes openings of held-out pieces of each source that the dataset has, and removes other styles."""
    from generation_jobs import make_seeds
    from generation_jobs.seeds import seed_list

    for entry in list(storage.list_files(output, missing_ok=True)):
        storage.delete(entry.path)
    info = dataset_info.load(dataset)
    pieces = list(read_split(dataset, info, "validation"))
    for name, part in STYLES.items():
        own = (piece for piece in pieces if part in _with_folder(piece.source))
        seeds = make_seeds.choose(own, num_seeds=OPENINGS, num_notes=16, max_per_piece=1, dataset=info.hash).seeds
        if seeds:
            seed_list.write(storage.join(output, f"{name}.jsonl"), seeds)
            print(f"style {name}: {len(seeds)} openings", flush=True)


def _with_folder(source: str) -> str:
    """A piece's file; where the tunes are the only input, they have no folder of their own."""
    return source if "/" in source else f"{STYLES['tunes']}{source}"


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
