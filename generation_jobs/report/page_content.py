"""The content of the report: its texts, and the pieces as compact columns for the script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from generation_jobs.compare import LongestRuns
from generation_jobs.measures.corpus_comparison import Comparison
from generation_jobs.output import selection
from generation_jobs.output.generated_music import GeneratedPiece
from generation_jobs.report import page_texts
from generation_jobs.report.page import Content
from generation_jobs.report.piece_figures import Figures
from generation_jobs.report.seed_originals import Original
from generation_jobs.report.training_run import Run
from midi_codec import audio
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.music.instrument_names import name_of
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, TICKS_PER_BEAT, Notes, ticks_per_quarter
from midi_codec.music.signatures import TimeSignature

SHARE_DECIMALS = 6
_COMMON_TIME = TimeSignature(0, 4, 4)
_METRE_FROM = {
    "primer": "as in the primer's piece",
    "estimate": "estimated from the notes",
    None: "counted from the first note; the time signature is unknown",
}
_CHECK_TITLES = {
    "num_notes_generated": None,  # shown as the number of notes
    "longest_repeat": "Longest repeat (notes)",
    "longest_silence_seconds": "Longest silence",
    "silence_share": "Share of silence",
    "max_polyphony": "Most notes at once",
}


def make_content(
    pieces: Sequence[GeneratedPiece],
    *,
    num_all: int,
    highlights: Sequence[int],
    figures: Figures,
    sounds: Mapping[int, bytes],
    midi: tuple[bytes, Sequence[int]],
    midi_links: Mapping[int, str],
    originals: Mapping[str, Original],
    run: Run | None,
    info: DatasetInfo | None,
    comparisons: Sequence[Comparison],
    comparison_note: str | None,
    runs: LongestRuns | None,
    facts: Sequence[tuple[str, str]],
) -> Content:
    """Collects the content of the page.

    Args:
      num_all: the pieces of the job, of which `pieces` may be a sample.
      sounds: Ogg Vorbis files to include in the page, by the index of the piece.
      midi: the `.mid` files, deflated, and their sizes; 0: not in the page.
      originals: how the seeds' own pieces continue, by seed id.
      facts: (label, value) pairs about the origin; those from the manifest are added.
    """
    checks = _checks(pieces)
    places = {seed_id: place for place, seed_id in enumerate(originals)}
    data = {
        "identity": _identity(pieces),
        "pieces": [
            _describe(piece, [check["name"] for check in checks])
            | {
                "is_highlight": index in set(highlights),
                "figures": figures.pieces[index],
                "distance": figures.distances[index],
                "sound": "inside" if index in sounds else "made" if len(piece.notes) else None,
                "midi_bytes": midi[1][index],
                "link": midi_links.get(index),
                "original": places.get(piece.line["seed_id"]),
            }
            for index, piece in enumerate(pieces)
        ],
        "originals": [_describe_original(original) for original in originals.values()],
        "checks": checks,
        "measures": figures.measures,
        "likeness": page_texts.likeness(figures),
        "programs": _programs(pieces),
        "max_sound_seconds": audio.MAX_SECONDS,
        "comparison": [_describe_comparison(comparison) for comparison in comparisons],
        "training": run.charts() if run else [],
    }
    return Content(
        title=page_texts.counted(len(pieces), num_all, "generated piece"),
        warnings=[
            *page_texts.sample_note(len(pieces), num_all),
            *page_texts.warnings(pieces, run, info, comparisons, runs),
        ],
        figures=page_texts.key_figures(pieces, run, runs),
        facts=[*facts, *page_texts.origin(pieces)],
        highlights_note=page_texts.highlights_note(len(highlights), len(sounds), len(pieces), figures),
        extremes_note=page_texts.extremes_note(figures),
        comparison_note=comparison_note,
        training=run.section() if run else None,
        data=data,
        sounds=sounds,
        midi=midi[0],
    )


# ------------------------------------------------------------------------------------------------ pieces


def _describe(piece: GeneratedPiece, checks: Iterable[str]) -> dict[str, Any]:
    notes, line = piece.notes, piece.line
    per_note = piece.log_likelihood_per_note
    screening = line.get("screening") or {}
    return {
        "name": selection.stem(line),
        "seed_id": line["seed_id"],
        "sample": line["sample"],
        "path": line["path"],
        "log_likelihood_per_note": None if per_note is None else round(per_note, 4),
        "ended": line["ended"],
        "settings": {
            name: page_texts.setting_text(value) for name, value in line["settings"].items() if value is not None
        },
        "checks": {name: line["checks"].get(name) for name in checks},
        "is_screened": line.get("screening") is not None,
        "reasons": screening.get("reasons", []),
        "num_rejected": len(screening.get("rejected", [])),
        **_describe_notes(notes, piece.num_given),
        "metre_note": _metre_note(notes, (line.get("signatures") or {}).get("time_from")),
    }


def _describe_original(original: Original) -> dict[str, Any]:
    return {
        "seed_id": original.seed_id,
        "source": original.source,
        "split": original.split,
        "at_note": original.at_note,
        "sound": "made",
        **_describe_notes(original.notes, original.num_given),
    }


def _describe_notes(notes: Notes, num_given: int) -> dict[str, Any]:
    """What the roll and the player need."""
    is_primed = 0 < num_given < len(notes)
    return {
        "seconds": round(notes.seconds, 3),
        "num_notes": len(notes),
        "num_primer_notes": num_given,
        "primer_end": round(float(notes.start[num_given]) * notes.seconds_per_tick, 3) if is_primed else 0,
        "seconds_per_quarter": round(ticks_per_quarter(notes.time_base, notes.tempo) * notes.seconds_per_tick, 6),
        "metre": _metre(notes),
        "is_cut": notes.seconds > audio.MAX_SECONDS,
        "columns": pack_notes(notes),
    }


def _metre(notes: Notes) -> list[dict[str, float]]:
    """Where a metre begins and the length of its bars, in quarter notes, and the beats of a bar; on beats alone."""
    if notes.time_base != BEATS:
        return []
    times = notes.signatures.times
    if not times or times[0].tick > 0:
        times = (_COMMON_TIME, *times)
    return [{"from": time.tick / TICKS_PER_BEAT, "quarters": time.quarters, "beats": time.numerator} for time in times]


def _metre_note(notes: Notes, origin: str | None) -> str:
    if notes.time_base != BEATS:
        return ""
    times = notes.signatures.times or (_COMMON_TIME,)
    shown = ", ".join(map(str, times[:3])) + ("..." if len(times) > 3 else "")
    return f"The numbers are bars of {shown}, {_METRE_FROM[origin]}."


def pack_notes(notes: Notes) -> str:
    """Base64 of the columns, one after the other, for data.js.

    Start and duration in milliseconds, 32 bits, then pitch, velocity and program, 8 bits; little-endian.
    """
    per_tick = 1000 * notes.seconds_per_tick
    start = np.rint(notes.start * per_tick).astype("<u4")
    duration = np.rint(notes.end * per_tick).astype("<u4") - start
    columns = (start, duration.astype("<u4"), notes.pitch, notes.velocity, notes.program)
    return base64.b64encode(b"".join(column.tobytes() for column in columns)).decode()


def _checks(pieces: Iterable[GeneratedPiece]) -> list[dict[str, Any]]:
    """Names and titles of the manifest's checks; no title: the script makes one from the name."""
    names = dict.fromkeys(name for piece in pieces for name in piece.line["checks"])
    titles = {name: _CHECK_TITLES.get(name, "") for name in names}
    return [{"name": name, "title": title or None} for name, title in titles.items() if title is not None]


def _identity(pieces: Iterable[GeneratedPiece]) -> str:
    """Of the job's pieces: a page about the same pieces, made again or moved, has the same marks."""
    names = "".join(f"{selection.stem(piece.line)} {piece.line['piece_id']}\n" for piece in pieces)
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def _programs(pieces: Iterable[GeneratedPiece]) -> list[dict[str, Any]]:
    """Number and name of each program, the most used first; the order decides the colours."""
    counts = np.zeros(DRUM_PROGRAM + 1, np.int64)
    for piece in pieces:
        counts += np.bincount(piece.notes.program, minlength=len(counts))
    used = [int(program) for program in np.argsort(-counts, kind="stable") if counts[program]]
    names = {p: name_of(p) for p in used}
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
