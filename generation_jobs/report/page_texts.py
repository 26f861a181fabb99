"""The texts of the report: key figures, notes for the reader, warnings and the origin of the music."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from generation_jobs.compare import LongestRuns
from generation_jobs.measures.corpus_comparison import Comparison
from generation_jobs.measures.music_doubts import doubts
from generation_jobs.output.generated_music import GeneratedPiece, Overview
from generation_jobs.report.piece_figures import Figures
from generation_jobs.report.training_run import Run
from midi_codec.dataset.dataset_info import DatasetInfo
from trainer import box_model


def key_figures(pieces: Sequence[GeneratedPiece], run: Run | None, runs: LongestRuns | None) -> list[dict[str, str]]:
    num_seeds = len({piece.line["seed_id"] for piece in pieces})
    generated = sum(piece.num_generated for piece in pieces)
    given = sum(piece.num_given for piece in pieces)
    ways = Overview(pieces).ways
    ended, others = ways.pop("by themselves", 0), ", ".join(f"{count} {way}" for way, count in ways.items())
    length, unit = _length(sum(piece.notes.seconds for piece in pieces))
    figures = [
        _figure("Pieces", f"{len(pieces):,}", note=f"from {num_seeds:,} seed{'s' if num_seeds != 1 else ''}"),
        _figure("Notes generated", f"{generated:,}", note=f"and {given:,} given in primers"),
        _figure("Music", length, unit, note="primers included"),
        _figure(
            "Ended by themselves", f"{100 * ended / len(pieces):.0f}", "%", note=others and f"the others: {others}"
        ),
    ]
    if run:
        baselines = ", ".join(f"{name} {value:.2f}" for name, value in sorted(run.baselines.items()))
        figures.append(_figure("Validation", f"{run.nll:.2f}", "nats per note", note=baselines))
    if runs:
        note = f"also in a training piece, in a row; held-out pieces: {runs.held_out}"
        figures.append(_figure("Longest run", f"{runs.generated}", "notes", note=note))
    return figures


def counted(num: int, num_all: int, noun: str = "piece") -> str:
    """`7 pieces`, or `5,000 of 1,000,000 pieces`."""
    return f"{num:,}{'' if num == num_all else f' of {num_all:,}'} {noun}{'s' if num_all != 1 else ''}"


def sample_note(num: int, num_all: int) -> Iterator[str]:
    if num < num_all:
        yield (
            f"This page is about a sample: {num:,} of {num_all:,} pieces, chosen by a hash of their names. All its "
            "figures are those of the sample; generation_jobs.evaluate and generation_jobs.compare read all pieces."
        )


def _figure(label: str, value: str, unit: str = "", note: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "unit": unit, "note": note}


def _length(seconds: float) -> tuple[str, str]:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f}", "hours"
    return (f"{seconds / 60:.1f}", "minutes") if seconds >= 60 else (f"{seconds:.0f}", "seconds")


def extremes_note(figures: Figures) -> str:
    note = "The lowest and the highest pieces in each column and measure; click one to open it."
    if any(measure["corpus"] for measure in figures.measures):
        note += (
            " If the corpus has the measure too: the pieces closest to the median of its training pieces, cut to the "
            "same lengths, and the range that holds nine in ten of those."
        )
    return note


def likeness(figures: Figures) -> str:
    """What the distances are from."""
    return "corpus" if figures.has_corpus else "other pieces"


def highlights_note(num: int, num_rendered: int, num_pieces: int, figures: Figures) -> str:
    others = "; this page synthesizes that of the others when they are played, in a simple way"
    like = likeness(figures)
    return (
        f"The first piece is the one most like the {like}: its figures in all measures are nearest to theirs. The "
        f"{num} highlights are spread evenly over that order, from the piece most like the {like} to the least. "
        f"The sound of {num_rendered} pieces is rendered with the instruments of a SoundFont"
        f"{others if num_rendered < num_pieces else ''}."
    )


def warnings(
    pieces: Sequence[GeneratedPiece],
    run: Run | None,
    info: DatasetInfo | None,
    comparisons: Sequence[Comparison],
    runs: LongestRuns | None,
) -> Iterator[str]:
    bundles, datasets = (_values(pieces, name) for name in ("bundle", "dataset"))
    if run and bundles != [run.bundle_hash]:
        yield f"The training run is that of bundle {run.bundle_hash}; the music was made by {', '.join(bundles)}."
    if info and datasets != [info.corpus_hash]:
        yield f"The corpus is dataset {info.corpus_hash}; the model was trained on {', '.join(datasets)}."
    yield from run.doubts() if run else ()
    is_box = all(map(box_model.has, bundles))
    yield from doubts(comparisons, is_still_improving=run.is_still_improving if run else None, is_box=is_box)
    yield from runs.doubts(is_box=is_box) if runs else ()


def origin(pieces: Sequence[GeneratedPiece]) -> Iterator[tuple[str, str]]:
    for label, name in (("Bundle", "bundle"), ("Dataset", "dataset"), ("Code version", "code_version")):
        yield label, ", ".join(_values(pieces, name))
    yield "Random number seed", ", ".join(_values(pieces, "rng_seed"))
    for name in dict.fromkeys(name for piece in pieces for name in piece.line["settings"]):
        shown = list(dict.fromkeys(setting_text(piece.line["settings"].get(name)) for piece in pieces))
        yield name.replace("_", " ").capitalize(), ", ".join(shown[:8]) + (" ..." if len(shown) > 8 else "")


def setting_text(setting: Any) -> str:
    """A setting as the flag takes it; one value per field is `pitch=0.05`, and `none` switches it off."""
    if isinstance(setting, Mapping):
        return ",".join(f"{field}={value}" for field, value in setting.items())
    if isinstance(setting, bool):
        return str(setting).lower()
    return "none" if setting is None else str(setting)


def _values(pieces: Iterable[GeneratedPiece], name: str) -> list[str]:
    return list(dict.fromkeys(str(piece.line[name]) for piece in pieces))
