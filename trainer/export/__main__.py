"""Exports a bundle as a SavedModel, for programs that have TensorFlow but none of this code.

    python -m trainer.export --bundle run/bundle --output exported

Signatures (`docs/export.md`): `start`, `step`, `head_<field>` for each field, `draw`, `likelihood`. They take and
return notes as values (ticks, MIDI numbers), and run on any device with any number of rows.
"""

from __future__ import annotations

import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from job_runtime import command, storage
from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError

if TYPE_CHECKING:
    from trainer.bundle import Bundle

PROGRAM = "python -m trainer.export"
MODEL_FILE = "saved_model.pb"  # written last: without it the folder is not a SavedModel
DESCRIPTION_FILE = "model.json"


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    from trainer import bundle as bundle_lib

    bundle = bundle_lib.load(args.bundle)
    if storage.exists(storage.join(args.output, MODEL_FILE)):
        raise UserError(f"{args.output} holds a SavedModel already; want a folder without one")
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # cuDNN's operations would not run on a CPU
    export(bundle, args.output)
    print(f"exported bundle {bundle.hash} to {args.output}")
    return command.OK


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--bundle", required=True, help="a folder that the trainer wrote: RUN/bundle")
    parser.add_argument("--output", required=True, help="a folder for the SavedModel")
    return parser


def export(bundle: Bundle, folder: str) -> None:
    """Writes the SavedModel, its weights first and `saved_model.pb` last, and a description beside them."""
    import tensorflow as tf

    from trainer.export import signatures as export_signatures

    signatures = export_signatures.Signatures(bundle)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # the export is not for training
    with tempfile.TemporaryDirectory() as scratch:
        tf.saved_model.save(signatures.module, scratch, signatures=signatures.functions(), options=options)
        files = sorted(path for path in pathlib.Path(scratch).rglob("*") if path.is_file())
        storage.write_bytes(storage.join(folder, DESCRIPTION_FILE), _description(bundle).encode())
        for path in sorted(files, key=lambda path: path.name == MODEL_FILE):
            storage.write_bytes(storage.join(folder, path.relative_to(scratch).as_posix()), path.read_bytes())


def _description(bundle: Bundle) -> str:
    """What the numbers mean, as JSON: grid, fields with their bins, hash of the bundle."""
    described = {
        "bundle": bundle.hash,
        "fields": bundle.fields.to_json(),
        "config": bundle.config,
        "deviations": bundle.deviations,
        "validation_nll": bundle.metrics.get("validation_nll"),
    }
    return json.dumps(described, indent=1) + "\n"


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
