"""The content of the report: texts, key figures and warnings, and the pieces as compact columns for the script."""

from __future__ import annotations

import base64
import os.path
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from generation_jobs.compare import LongestRuns
from generation_jobs.measures.corpus_comparison import Comparison
from generation_jobs.measures.music_doubts import doubts
from generation_jobs.output.generated_music import GeneratedPiece, how_ended
from generation_jobs.report.page import Content
from generation_jobs.report.piece_figures import Figures
from generation_jobs.report.training_run import Run
from midi_codec import audio
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.music.notes import DRUM_PROGRAM, Notes

SHARE_DECIMALS = 6
_HIDDEN_CHECKS = ("num_notes_generated",)  # shown as the number of notes


def make_content(
    pieces: Sequence[GeneratedPiece],
    *,
    highlights: Sequence[int],
    figures: Figures,
    sounds: Mapping[int, bytes],
    midi_links: Mapping[int, str],
    run: Run | None,
    info: DatasetInfo | None,
    comparisons: Sequence[Comparison],
    comparison_note: str | None,
    runs: LongestRuns | None,
    facts: Sequence[tuple[str, str]],
) -> Content:
    """Collects the content of the page.

    Args:
      sounds: Ogg Vorbis files to include in the page, by the index of the piece.
      facts: (label, value) pairs about the origin; those from the manifest are added.
    """
    checks = _check_names(pieces)
    data = {
        "pieces": [
            _describe(piece, checks)
            | {
                "is_highlight": index in set(highlights),
                "figures": figures.pieces[index],
                "distance": figures.distances[index],
                "sound": "inside" if index in sounds else "made" if len(piece.notes) else None,
                "link": midi_links.get(index),
            }
            for index, piece in enumerate(pieces)
        ],
        "checks": checks,
        "measures": figures.measures,
        "likeness": _likeness(figures),
        "programs": _programs(pieces),
        "max_sound_seconds": audio.MAX_SECONDS,
        "comparison": [_describe_comparison(comparison) for comparison in comparisons],
        "training": run.charts() if run else [],
    }
    return Content(
        title=f"{len(pieces):,} generated piece{'s' if len(pieces) != 1 else ''}",
        warnings=list(_warnings(pieces, run, info, comparisons, runs)),
        figures=_figures(pieces, run, runs),
        facts=[*facts, *_origin(pieces)],
        highlights_note=_highlights_note(len(highlights), len(sounds), len(pieces), figures),
        extremes_note=_extremes_note(figures),
        comparison_note=comparison_note,
        training=run.section() if run else None,
        data=data,
        sounds=sounds,
    )


# ------------------------------------------------------------------------------------------------ pieces


def _describe(piece: GeneratedPiece, checks: Iterable[str]) -> dict[str, Any]:
    notes, line = piece.notes, piece.line
    per_note = piece.log_likelihood_per_note
    screening = line.get("screening") or {}
    is_primed = 0 < piece.num_given < len(notes)
    return {
        "seed_id": line["seed_id"],
        "sample": line["sample"],
        "path": line["path"],
        "seconds": round(notes.seconds, 3),
        "num_notes": len(notes),
        "num_primer_notes": piece.num_given,
        "primer_end": round(float(notes.start[piece.num_given]) * notes.seconds_per_tick, 3) if is_primed else 0,
        "log_likelihood_per_note": None if per_note is None else round(per_note, 4),
        "ended": line["ended"],
        "settings": {name: None if value is None else _shown(value) for name, value in line["settings"].items()},
        "checks": {name: line["checks"].get(name) for name in checks},
        "reasons": screening.get("reasons", []),
        "num_rejected": len(screening.get("rejected", [])),
        "is_cut": notes.seconds > audio.MAX_SECONDS,
        "columns": pack_notes(notes),
    }


def pack_notes(notes: Notes) -> str:
    """Base64 of the columns, one after the other, for data.js.

    Start and duration in milliseconds, 32 bits, then pitch, velocity and program, 8 bits; little-endian.
    """
    per_tick = 1000 * notes.seconds_per_tick
    start = np.rint(notes.start * per_tick).astype("<u4")
    duration = np.rint(notes.end * per_tick).astype("<u4") - start
    columns = (start, duration.astype("<u4"), notes.pitch, notes.velocity, notes.program)
    return base64.b64encode(b"".join(column.tobytes() for column in columns)).decode()


def _check_names(pieces: Iterable[GeneratedPiece]) -> list[str]:
    names = dict.fromkeys(name for piece in pieces for name in piece.line["checks"])
    return [name for name in names if name not in _HIDDEN_CHECKS]


def _programs(pieces: Iterable[GeneratedPiece]) -> list[dict[str, Any]]:
    """Number and name of each program, the most used first; the order decides the colours."""
    import pretty_midi  # slow to import

    counts = np.zeros(DRUM_PROGRAM + 1, np.int64)
    for piece in pieces:
        counts += np.bincount(piece.notes.program, minlength=len(counts))
    used = [int(program) for program in np.argsort(-counts, kind="stable") if counts[program]]
    names = {p: "Drums" if p == DRUM_PROGRAM else pretty_midi.program_to_instrument_name(p) for p in used}
    return [{"program": program, "name": names[program]} for program in used]


def _describe_comparison(comparison: Comparison) -> dict[str, Any]:
    measure = comparison.measure
    return {
        "title": measure.title,
        "bins": measure.bins,
        "ticks": measure.ticks,
        "generated": _rounded(comparison.generated),
        "corpus": _rounded(comparison.corpus),
        "overlap": comparison.overlap,
        "ceiling": comparison.ceiling and comparison.ceiling.overlap,
        "wasserstein": comparison.wasserstein,
        "wasserstein_ceiling": comparison.ceiling and comparison.ceiling.wasserstein,
    }


def _rounded(shares: np.ndarray | None) -> list[float] | None:
    return None if shares is None else np.round(shares, SHARE_DECIMALS).tolist()


# ------------------------------------------------------------------------------------------------- texts


def _figures(pieces: Sequence[GeneratedPiece], run: Run | None, runs: LongestRuns | None) -> list[dict[str, str]]:
    num_seeds = len({piece.line["seed_id"] for piece in pieces})
    generated = sum(piece.num_generated for piece in pieces)
    given = sum(piece.num_given for piece in pieces)
    ways = how_ended(pieces)
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


def _figure(label: str, value: str, unit: str = "", note: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "unit": unit, "note": note}


def _length(seconds: float) -> tuple[str, str]:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f}", "hours"
    return (f"{seconds / 60:.1f}", "minutes") if seconds >= 60 else (f"{seconds:.0f}", "seconds")


def _extremes_note(figures: Figures) -> str:
    note = "The lowest and the highest pieces in each column and measure; click one to open it."
    if any(measure["corpus"] for measure in figures.measures):
        note += (
            " If the corpus has the measure too: the pieces closest to the median of its training pieces, cut to the "
            "same lengths, and the range that holds nine in ten of those."
        )
    return note


def _likeness(figures: Figures) -> str:
    """What the distances are from."""
    return "corpus" if figures.has_corpus else "other pieces"


def _highlights_note(num: int, num_rendered: int, num_pieces: int, figures: Figures) -> str:
    others = "; this page synthesizes that of the others when they are played, in a simple way"
    likeness = _likeness(figures)
    return (
        f"The first piece is the one most like the {likeness}: its figures in all measures are nearest to theirs. The "
        f"{num} highlights are spread evenly over that order, from the piece most like the {likeness} to the least. "
        f"The sound of {num_rendered} pieces is rendered with the instruments of a SoundFont"
        f"{others if num_rendered < num_pieces else ''}."
    )


def _warnings(
    pieces: Sequence[GeneratedPiece],
    run: Run | None,
    info: DatasetInfo | None,
    comparisons: Sequence[Comparison],
    runs: LongestRuns | None,
) -> Iterator[str]:
    bundles, datasets = (_values(pieces, name) for name in ("bundle", "dataset"))
    if run and bundles != [run.bundle_hash]:
        yield f"The training run is that of bundle {run.bundle_hash}; the music was made by {', '.join(bundles)}."
    if info and datasets != [info.hash]:
        yield f"The corpus is dataset {info.hash}; the model was trained on {', '.join(datasets)}."
    yield from run.doubts() if run else ()
    yield from doubts(comparisons, is_still_improving=run.is_still_improving if run else None)
    yield from runs.doubts() if runs else ()


def _origin(pieces: Sequence[GeneratedPiece]) -> Iterator[tuple[str, str]]:
    for label, name in (("Bundle", "bundle"), ("Dataset", "dataset"), ("Code version", "code_version")):
        yield label, ", ".join(_values(pieces, name))
    yield "Random number seed", ", ".join(_values(pieces, "rng_seed"))
    for name in dict.fromkeys(name for piece in pieces for name in piece.line["settings"]):
        shown = list(dict.fromkeys(_shown(piece.line["settings"].get(name)) for piece in pieces))
        yield name.replace("_", " ").capitalize(), ", ".join(shown[:8]) + (" ..." if len(shown) > 8 else "")


def _shown(setting: Any) -> str:
    """A setting as the flag takes it; one value per field is `pitch=0.05`."""
    if isinstance(setting, Mapping):
        return ",".join(f"{field}={value}" for field, value in setting.items())
    return "no limit" if setting is None else str(setting)


def _values(pieces: Iterable[GeneratedPiece], name: str) -> list[str]:
    return list(dict.fromkeys(str(piece.line[name]) for piece in pieces))


# ------------------------------------------------------------------------------------------------- links


def midi_links(pieces: Sequence[GeneratedPiece], music: str, output: str) -> dict[int, str]:
    """Relative links from the page to the `.mid` files; none if the page or the music is in a bucket."""
    if "://" in music or "://" in output:
        return {}
    folder = os.path.dirname(os.path.abspath(output))
    return {
        index: quote(os.path.relpath(os.path.join(music, piece.line["path"]), folder))
        for index, piece in enumerate(pieces)
        if "!" not in piece.line["path"]  # a member of a tar has no address
    }


def quote(path: str) -> str:
    """A relative path as a link; never one with a scheme, whatever the first folder is called."""
    return "./" + urllib.parse.quote(path, errors="surrogateescape")
