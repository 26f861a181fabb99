"""Makes music with a trained model: MIDI files, records and a manifest.

    python -m generation_jobs.generate --output music --samples-per-seed 10
    python -m generation_jobs.generate --bundle run/bundle --seeds seeds.jsonl --output music --samples-per-seed 10

The first command makes ten pieces from silence with the model in the box (docs/model_card.md), the second continues
the seeds of a list (docs/generate.md). After an interruption start the same command again: finished pieces are kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from generation_jobs.decoder import bundles
from generation_jobs.job import chosen_pieces, dry_run, task
from generation_jobs.job.job import Job, with_precision
from generation_jobs.job.task import Decoder, Summary
from generation_jobs.output.shards import MAX_PIECES_PER_SHARD
from generation_jobs.screening import reject_policy
from generation_jobs.seeds import primers, seed_list, seed_record, setting_conflicts, styles
from generation_jobs.seeds.primer_reading import Reading
from generation_jobs.settings.controls import CONTROLS
from generation_jobs.settings.requests import DEFAULTS, PRIMERS, SAMPLING, SLOTS_PER_CORE, Settings
from job_runtime import command, problem_report, storage
from job_runtime.command_line import settings as settings_lib
from job_runtime.command_line.flags import Parser, group_of
from job_runtime.command_line.settings import Kind, setting
from job_runtime.problem_report import UserError
from job_runtime.processes import num_cores
from job_runtime.watched_stop import StopAtOnce
from midi_codec.dataset import dataset_info
from midi_codec.fields import WIDTH_MULTIPLE, FieldTable
from midi_codec.music.notes import BEATS
from trainer import box_model
from trainer.model import precision as precision_lib

if TYPE_CHECKING:
    from trainer.bundle import Bundle

FILES = "files and speed"  # the group of flags in `--help`
MAX_SLOTS = 4096
MAX_DAMAGE = 5  # damaged files to name
SAMPLES_PER_SLOT = 8
FEW_SAMPLES, MANY_SAMPLES = 16, 2048  # of the whole job, so that all of its tasks use as many slots
FEW_SLOTS, SLOTS, MANY_SLOTS = 16, 64, 256  # with many, pieces take less time each, but the first ones come later
PIECES_PER_SLOT = 128  # requested at once: slots are empty only at the end of such a batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobSettings:
    """The settings that are for the whole job, not for a piece."""

    samples_per_seed: int = setting(
        1, "pieces per seed, unless the seed has num_samples", at_least=1, at_most=seed_record.MAX_SAMPLES
    )
    rng_seed: int = setting(0, "other values give other music from the same seeds", at_least=0, at_most=2**63 - 1)
    pieces_per_shard: int | None = setting(
        None,
        "put this many pieces in each tar file, for very large outputs",
        at_least=1,
        at_most=MAX_PIECES_PER_SHARD,
        default_text="one .mid file per piece",
        group=FILES,
    )
    precision: str = setting(
        precision_lib.AUTO,
        "precision of matrix products; auto: as the job was started, and for a new one bfloat16 where the processor"
        " multiplies it faster, else float32",
        choices=precision_lib.CHOICES,
        group=FILES,
    )
    num_slots: int | None = setting(
        None,
        "pieces decoded at once; more is faster for many pieces, and takes more memory",
        kind=Kind(
            f"1, or a multiple of {WIDTH_MULTIPLE}, at most {MAX_SLOTS}",
            lambda value: value == 1 or 0 < value <= MAX_SLOTS and value % WIDTH_MULTIPLE == 0,
        ),
        default_text=f"{SLOTS}; {FEW_SLOTS} up to {FEW_SAMPLES} samples; from {MANY_SAMPLES:,} samples"
        f" {SLOTS_PER_CORE} per core, at least {MANY_SLOTS}",
        group=FILES,
    )


def main(argv: Sequence[str]) -> int:
    args, in_flags = make_parser().parse(argv)
    with StopAtOnce() as stop:
        bundle, this_job, num_slots, only = _check(args, in_flags)
        for remark in problem_report.sentences(args.seeds, this_job.primers.remarks, noun="remark"):
            print(remark, flush=True)
        if args.bundle is None:
            print(f"without --bundle: {box_model.NAME}, {this_job.bundle}, see {box_model.CARD}", flush=True)
        in_force = vars(this_job.settings)
        found = {name: value for name, value in bundles.sampling(bundle).items() if in_force[name] == value}
        if found:
            print(f"the bundle says: {settings_lib.as_flags(found)}", flush=True)
        this_job = with_precision(this_job, writes=not (args.dry_run or only))
        make_decoder = functools.partial(_make_decoder, bundle, num_slots, this_job.precision)
        if args.dry_run:
            left = dry_run.left_to_make(this_job)
            trial = dry_run.measure(this_job, left, make_decoder, num_slots=num_slots)
            print(*dry_run.describe(this_job, left, trial, num_slots=num_slots), sep="\n")
            return command.OK
        if only:
            for number, path in chosen_pieces.make(this_job, only, make_decoder):
                print(
                    storage.join(args.output, path) if path else f"{_name(this_job, number)} is rejected and left out"
                )
            return command.OK
        batch_size = max(task.DEFAULT_BATCH, PIECES_PER_SLOT * num_slots)
        summary = task.run(this_job, make_decoder, stop, batch_size=batch_size)
    print(*_describe(summary, args), sep="\n")
    return command.FAULT if summary.num_failed else command.OK


def _name(job: Job, number: int) -> str:
    seed, sample = job.sample(number)
    return f"{job.seeds[seed].id}:{sample}"


def _describe(summary: Summary, args: argparse.Namespace) -> Iterator[str]:
    num_existing = summary.num_samples - summary.num_made - summary.num_failed
    if summary.damage:
        shown, rest = summary.damage[:MAX_DAMAGE], len(summary.damage) - MAX_DAMAGE
        more = f" and {rest:,} more" if rest > 0 else ""
        yield f"finished shards had missing or damaged files, which were made again: {'; '.join(shown)}{more}"
    yield f"{summary.num_samples:,} pieces in {args.output}: {summary.num_made:,} made, {num_existing:,} already there"
    if summary.num_retries or summary.num_rejected:
        fate = "left out" if args.on_reject == reject_policy.DROP else "kept anyway"
        yield f"{summary.num_retries:,} rejected and made again, {summary.num_rejected:,} rejected and {fate}"
    if summary.num_notes:
        rate = summary.num_notes / max(summary.seconds, 1e-9)
        yield f"{summary.num_notes:,} notes generated in {summary.seconds:.1f} s, {rate:,.0f} per second"
    if summary.num_failed:
        where = storage.join(args.output, "failures")
        yield f"{summary.num_failed:,} failed, see {where}; start the same command again to retry them"


def make_parser() -> Parser:
    parser = command.make_parser("python -m generation_jobs.generate", __doc__)
    add = parser.add_argument
    text = "folder that the trainer wrote: RUN/bundle; several form an ensemble (default: the model in the box)"
    add("--bundle", action="append", help=text)
    add("--seeds", help="seed list, .jsonl or .csv, or a folder of MIDI files: what to continue (default: silence)")
    text = "start pieces like those of one source of the model in the box; --samples-per-seed is then their number"
    add("--style", choices=styles.names(), help=f"{text} (instead of --seeds)")
    add("--output", required=True, help="a folder for the music; pieces that already exist are kept")
    add("--dry-run", action="store_true", help="estimate the number of pieces, the time and the size; write nothing")
    group_of(parser, SAMPLING, "a seed may override these, and what else is about one piece; see docs/seeds.md")
    group_of(parser, CONTROLS)
    text = "dataset of the pieces that seeds name by piece_id, as encode_corpus wrote it"
    group_of(parser, PRIMERS).add_argument("--seed-data", help=text)
    settings_lib.add_flags(parser, JobSettings)
    settings_lib.add_flags(parser, DEFAULTS)
    reject_policy.add_flags(parser)
    command.add_task_flags(parser)
    text = "make only this piece of the job, the same bytes again; may be repeated (default: all pieces)"
    group_of(parser, command.TASKS).add_argument(
        "--only", action="append", metavar="SEED:SAMPLE", default=[], help=text
    )
    return parser


def _check(args: argparse.Namespace, in_flags: Sequence[str]) -> tuple[list[Bundle], Job, int, list[int]]:
    """Reads the bundle and the whole seed list; also gives the number of slots, and the samples of --only.

    Raises:
      UserError: every mistake in the flags, the bundle and the list, all at once.
    """
    problems = list(in_flags)
    values = settings_lib.read_flags(DEFAULTS, args, problems)
    own = JobSettings(**settings_lib.read_flags(JobSettings, args, problems))
    settings = None if problems else dataclasses.replace(DEFAULTS, **values)
    problems += storage.output_problems("--output", args.output)
    if args.style is not None and args.seeds is not None:
        problems.append(f"--style is {args.style} and --seeds {args.seeds!r}; want one of them")
    task_index, num_tasks = 0, 1
    models: list[Bundle] = []
    reading = None
    with command.collecting(problems):
        task_index, num_tasks = command.task_share(args)
    with command.collecting(problems):
        args.seed_data = args.seed_data and box_model.resolve_data(args.seed_data, None)
        models = bundles.load([_box(args.seed_data)] if args.bundle is None else args.bundle)
    with command.collecting(problems):
        reading = Reading.of_bundle(models[0]) if models else None
    table = models[0].fields if models else None
    with command.collecting(problems):
        if settings and models:
            found = bundles.sampling(models)
            settings = settings.override({name: value for name, value in found.items() if name not in values})
    policy, in_policy = reject_policy.load(args, table.time_base if table else None)
    problems += in_policy
    seeds, read_primers, in_list = _read_seeds(args, own, table, settings, reading)
    problems += in_list
    if models and not any(model.copies for model in models):
        problems += _copying_problems(args.copying, seeds)
    if problems:
        raise UserError(problems)
    assert seeds is not None and read_primers is not None and settings is not None
    this_job = Job(
        output=args.output,
        bundle=bundles.joined([model.hash for model in models]),
        dataset=bundles.joined([model.dataset["hash"] for model in models]),
        seeds=seeds.seeds,
        primers=read_primers,
        seeds_digest=seeds.digest,
        settings=settings,
        samples_per_seed=own.samples_per_seed,
        rng_seed=own.rng_seed,
        policy=policy,
        precision=own.precision,
        pieces_per_shard=own.pieces_per_shard,
        num_tasks=num_tasks,
        task_index=task_index,
    )
    if problems := list(this_job.shards.problems()):
        raise UserError(problems)
    only, problems = chosen_pieces.parse(args.only, this_job)
    if args.only and args.dry_run:
        problems.append("--only is given with --dry-run; want one of them")
    if problems:
        raise UserError(problems)
    return models, this_job, own.num_slots or _default_slots(this_job), only


def _copying_problems(flag: str | None, seeds: seed_list.SeedList | None) -> Iterator[str]:
    """Who asks a model for copying that does not copy."""
    if flag is not None:
        yield f"--copying is {flag}, but the model does not copy; want no --copying"
    asking = next((seed.id for seed in seeds.seeds if "copying" in seed.overrides), None) if seeds else None
    if asking is not None:
        yield f"seed {asking!r} has copying, but the model does not copy; want none in the list"


def _box(seed_data: str | None) -> str:
    """The model in the box for the grid of the dataset that seeds name, or for beats, which any primer fits."""
    return box_model.resolve(box_model.BOX, dataset_info.load(seed_data).time_base if seed_data else BEATS)


def _read_seeds(
    args: argparse.Namespace,
    own: JobSettings,
    table: FieldTable | None,
    settings: Settings | None,
    reading: Reading | None,
) -> tuple[seed_list.SeedList | None, primers.Primers | None, list[str]]:
    """The list and its primers, or one seed of silence; then the problems: those of the flags, then those of the list
    in the order of its lines."""
    path = args.seeds
    flag_problems = list(setting_conflicts.of_settings(settings, table)) if settings and table else []
    try:
        if path is not None:
            seeds = seed_list.read(path)
        elif args.style is not None:
            seeds = styles.read(args.style, num_pieces=own.samples_per_seed, rng_seed=own.rng_seed)
        else:
            seeds = seed_list.silence()
    except FileNotFoundError:
        return None, None, [*_with_prefix(flag_problems), f"--seeds {path!r} does not exist, want a seed list"]
    except (OSError, UserError) as error:
        why = getattr(error, "strerror", None) or error
        return None, None, [*_with_prefix(flag_problems), f"--seeds {path!r} cannot be read: {why}"]
    problems, read_primers = seeds.problems, None
    if table is not None:  # its grid decides what a primer is
        read_primers, more = primers.load(
            seeds.seeds,
            folder=seeds.folder,
            table=table,
            dataset=args.seed_data,
            reading=reading,
            map_programs=settings.map_programs if settings else None,
        )
        if settings is not None:
            flag_problems, seed_problems = setting_conflicts.find(settings, seeds.seeds, read_primers, table)
            more += seed_problems
        problems = sorted([*problems, *more], key=lambda problem: problem[0])
    return seeds, read_primers, [*_with_prefix(flag_problems), *problem_report.sentences(seeds.path, problems)]


def _with_prefix(problems: Sequence[str]) -> list[str]:
    return [f"flags: {problem}" for problem in problems]


def _default_slots(job: Job) -> int:
    num_samples = job.shards.num_samples
    if num_samples < MANY_SAMPLES:
        return FEW_SLOTS if num_samples <= FEW_SAMPLES else SLOTS
    slots = min(num_samples // SAMPLES_PER_SLOT, SLOTS_PER_CORE * num_cores(), MAX_SLOTS)
    return max(MANY_SLOTS, slots // SLOTS_PER_CORE * SLOTS_PER_CORE)


def _make_decoder(bundle: Sequence[Bundle], num_slots: int, precision: str) -> Decoder:
    print(precision_lib.describe(precision), flush=True)
    return bundles.make_decoder(bundle, num_slots, precision)


if __name__ == "__main__":
    command.exit_process(command.run("python -m generation_jobs.generate", main))
