"""Train the model in the box again: its corpus, dataset, bundle, styles and figures; `make box-model` calls this.

    python -m demo.box_model --music openscore.tar.gz freedoom.tar.gz groove --max-minutes 120

Without --music it learns from the traditional tunes that music21 carries, only. `docs/model_card.md` says where the
other music comes from, and its terms. Everything else that determines the outcome is in `demo/box_model_GRID.yaml` and
in the flags below. Finished steps are not repeated, and an interrupted one resumes. The bundle and the styles replace
those in the package.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence

from demo.steps import StepFailed, Steps
from job_runtime import command, storage
from job_runtime.command import StopSignal
from job_runtime.command_line.settings import add_number
from midi_codec.dataset import dataset_info
from midi_codec.dataset.split_reader import read_split
from midi_codec.fields import CATEGORY, FieldSpec, FieldTable
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, TIME_BASES
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
        steps = Steps(folder, 4, stop)
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


def write_styles(dataset: str, output: str) -> None:
    """Writes openings of held-out pieces of each source that the dataset has, and removes other styles."""
    from generation_jobs import make_seeds
    from generation_jobs.seeds import seed_list

    for entry in list(storage.list_files(output, missing_ok=True)):
        storage.delete(entry.path)
    pieces = list(read_split(dataset, dataset_info.load(dataset), "validation"))
    for name, part in STYLES.items():
        own = (piece for piece in pieces if part in piece.source)
        seeds = make_seeds.choose(own, num_seeds=OPENINGS, num_notes=16, max_per_piece=1).seeds
        if seeds:
            seed_list.write(storage.join(output, f"{name}.jsonl"), seeds)
            print(f"style {name}: {len(seeds)} openings", flush=True)


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
