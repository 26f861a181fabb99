"""Train the model in the box again: its corpus, dataset, bundle and figures; `make box-model` calls this.

    python -m demo.box_model

Everything that determines the outcome is in `demo/box_model.yaml` and in the flags below. Finished steps are not
repeated, and an interrupted one resumes. The bundle replaces the one in the package.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from demo.steps import StepFailed, Steps
from job_runtime import command, storage
from job_runtime.command import StopSignal
from job_runtime.command_line.settings import add_number
from midi_codec.music.notes import BEATS
from trainer import box_model

PROGRAM = "python -m demo.box_model"
SETTINGS = os.path.join(os.path.dirname(__file__), "box_model.yaml")
# Versions of a tune also share a split by title, because some are too short to be found as near-duplicates.
ENCODE = ("--time-base", BEATS, "--split-percents", "90,10,0", "--group-regex", "([^/]+)--")
DESCRIPTION_BYTES = 100_000  # space for bundle.json beside the weights


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--folder", default="run/box", help="folder for corpus, dataset, training and figures (default: %(default)s)")
    add("--config", default=SETTINGS, help="settings of the training (default: demo/box_model.yaml)")
    add_number(parser, "--limit", None, "only the first N tunes, to try it", at_least=1)
    add("--bundle", default=box_model.folder(), help="folder for the bundle (default: in the package)")
    args = parser.parse_args(argv)
    folder = args.folder
    corpus, dataset, run = (storage.join(folder, name) for name in ("corpus", "dataset", "training"))
    limit = [] if args.limit is None else ["--limit", str(args.limit)]
    figures = storage.join(folder, "figures.json")
    with StopSignal() as stop:
        steps = Steps(folder, 4, stop)
        try:
            steps.run("corpus", "demo.tunes", ["--output", corpus, *limit], outputs=[corpus])
            steps.run(
                "encode",
                "beam_pipelines.encode_corpus",
                ["--input", corpus, "--output", dataset, *ENCODE],
                outputs=[dataset],
            )
            train = ["--data", dataset, "--output", run, "--config", args.config]
            steps.run("train", "trainer.task", train, outputs=[run], depends_on=storage.read_text(args.config))
            pack(storage.join(run, "bundle"), args.bundle)
            measure = ["--bundle", args.bundle, "--data", dataset, "--output", figures]
            steps.run("figures", "trainer.evaluate", measure, outputs=[figures])
        except StepFailed as error:
            print(f"{PROGRAM}: {error}", file=sys.stderr)
            return command.FAULT
    return command.OK


def pack(source: str, output: str) -> None:
    """Copies a bundle with float16 weights.

    Raises:
      UserError: it is too large for the package.
    """
    from trainer import bundle

    packed = bundle.as_float16(bundle.load(source), max_bytes=box_model.MAX_BYTES - DESCRIPTION_BYTES)
    bundle.save(output, packed)
    size = sum(entry.size for entry in storage.list_files(output))
    print(f"{output}: {size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
