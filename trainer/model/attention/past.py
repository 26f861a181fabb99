"""What the next note may copy: candidates, from what is known of the notes before it.

The candidates are, in this order: what followed the earlier moments that match the present one
(`trainer.model.attention.matches`), the last two notes themselves, what sounded given times ago
(`trainer.model.attention.echoes`), and, once the pitch is known, the last note with that pitch.

Nothing here is learned. A whole window and one event at a time give the same candidates.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer.model.attention import echoes, matches, pulses
from trainer.model.attention.echoes import Echoes, Moments
from trainer.model.attention.matches import MISSING, Matches, latest_true, notes_at
from trainer.model.attention.sources import BEYOND, LAST_NOTES, Sources
from trainer.model.field_bins import encode_notes

NUM_AGES = 16  # doublings of the number of notes before an event


class Past(NamedTuple):
    """What copying knows of each row's piece.

    Small types, because a decoder moves all of it with every note.

    Attributes:
      bins: `[rows, num_fields, size + BEYOND]` int16, of the last notes, the newest last; `MISSING` where there is
        none.
      runs: of `matches`; nothing without matches.
      moments: of `echoes`; nothing without lags.
    """

    bins: tf.Tensor
    runs: tf.Tensor | tuple[()]
    moments: Moments | tuple[()]


class Candidates(NamedTuple):
    """What the events may copy.

    Attributes:
      bins: `[rows, time, Sources.num_earlier, num_fields]` int32, `MISSING` where there is none.
      matches: how much matches, and how far back; None without matches.
      echoes: how well what sounded before repeats; None without lags.
      ages: `[rows, time]` int32, how many notes there are to copy, in doublings.
      past: `[rows, num_fields, size + time]` int32; event t comes after note t + size and may copy `size` notes.
      sources: what is copied.
      amount: `[rows]` float32 from 0 to 1, how much the candidates count; None for 1.
    """

    bins: tf.Tensor
    matches: Matches | None
    echoes: Echoes | None
    ages: tf.Tensor
    past: tf.Tensor
    sources: Sources
    amount: tf.Tensor | None = None


def nothing_before(rows: int | tf.Tensor, *, sources: Sources, num_fields: int) -> Past:
    """The past of pieces that have not begun."""
    return Past(
        tf.fill([rows, num_fields, sources.memory], tf.constant(MISSING, tf.int16)),
        matches.no_runs(rows, size=sources.size) if sources.has_matches else (),
        echoes.no_moments(rows, notes=sources.memory, num_lags=len(sources.lags)) if sources.lags else (),
    )


def past_of(table: fields_lib.FieldTable, sources: Sources, notes: tf.Tensor, is_note: tf.Tensor) -> Past:
    """The past after given notes, values `[rows, size + BEYOND, num_fields]`, missing ones first."""
    columns = _columns(encode_notes(table, notes), is_note)
    columns = tf.ensure_shape(columns, [None, len(table), sources.memory])
    return _past(table, sources, columns, tf.cumsum(_steps(table, notes, is_note), axis=1))


def past_after(table: fields_lib.FieldTable, sources: Sources, past: Past, notes: tf.Tensor, counts: tf.Tensor) -> Past:
    """The past after the first `counts` `[rows]` of some notes, values `[rows, notes, num_fields]`."""
    are_notes = tf.ones(tf.shape(notes)[:2])
    columns = tf.concat([tf.cast(past.bins, tf.int32), _columns(encode_notes(table, notes), are_notes)], axis=2)
    kept = counts[:, None] + tf.range(sources.memory)
    onset = _onsets(table, past, notes, are_notes)
    onset = None if onset is None else tf.gather(onset, kept, axis=1, batch_dims=1)
    return _past(table, sources, tf.gather(columns, kept, axis=2, batch_dims=1), onset)


def window_candidates(
    table: fields_lib.FieldTable,
    sources: Sources,
    past: Past,
    notes: tf.Tensor,
    is_note: tf.Tensor,
    is_hidden: tf.Tensor | None = None,
) -> tuple[Candidates, Past]:
    """The candidates of a window's events, and the past after it.

    Args:
      table: the fields.
      sources: what is copied.
      past: at the start of the window.
      notes: `[rows, time, num_fields]` int32, values of its notes.
      is_note: `[rows, time]`, 0 where there is none.
      is_hidden: `[rows, size + BEYOND + time]` bool, notes that echoes do not find (`echoes.hidden`), or None.
    """
    time, size = tf.shape(notes)[1], sources.size
    columns = tf.concat([tf.cast(past.bins, tf.int32), _columns(encode_notes(table, notes), is_note)], axis=2)
    onset = _onsets(table, past, notes, is_note)
    matched, runs = None, ()
    if sources.has_matches:
        matched, runs = matches.of_window(table, sources, columns, time=time)
    heard = None
    if onset is not None:
        heard = echoes.of_window(table, columns, onset, sources.lags, time=time, size=size, is_hidden=is_hidden)
    candidates = _candidates(table, sources, columns[:, :, BEYOND - 1 : -1], matched, heard)
    kept = tf.ensure_shape(columns[:, :, -sources.memory :], past.bins.shape)
    moments: Moments | tuple[()] = ()
    if onset is not None:
        onset = tf.ensure_shape(onset[:, -sources.memory :], [None, sources.memory])
        moments = echoes.moments_of(table, kept, onset, sources.lags, size=size)
    return candidates, Past(tf.cast(kept, tf.int16), runs, moments)


def event_candidates(table: fields_lib.FieldTable, sources: Sources, past: Past) -> Candidates:
    """The candidates of one more event."""
    columns = tf.cast(past.bins, tf.int32)
    recent = columns[:, :, BEYOND - 1 :]
    matched = matches.of_event(table, recent, past.runs) if sources.has_matches else None
    heard = None
    if isinstance(past.moments, Moments):
        heard = echoes.of_event(table, columns, past.moments, sources.lags, size=sources.size)
    return _candidates(table, sources, recent, matched, heard)


def remember(table: fields_lib.FieldTable, sources: Sources, past: Past, note: tf.Tensor) -> Past:
    """The past with one more note, values `[rows, num_fields]`."""
    bins = tf.cast(encode_notes(table, note), tf.int16)
    columns = tf.concat([past.bins[:, :, 1:], bins[:, :, None]], axis=2)
    runs = matches.longer_runs(table, sources, columns, past.runs) if sources.has_matches else ()
    moments: Moments | tuple[()] = ()
    if isinstance(past.moments, Moments):
        step = note[:, table.names.index("step")]
        moments = echoes.remember(table, past.moments, columns, step, sources.lags, size=sources.size)
    return Past(columns, runs, moments)


def same_pitch(table: fields_lib.FieldTable, candidates: Candidates, pitch: tf.Tensor) -> tf.Tensor:
    """`[rows, time, num_fields]` bins of the last note with each event's pitch `[rows, time]`; `MISSING` if none."""
    size, own = candidates.sources.size, candidates.past[:, table.names.index("pitch")]
    event = tf.range(tf.shape(pitch)[1])
    seen = own[:, None, 1:] if pitch.shape[1] == 1 else tf.gather(own, event[:, None] + 1 + tf.range(size), axis=1)
    latest = latest_true(seen == pitch[..., None])
    bins = notes_at(candidates.past, (event + 1 + tf.maximum(latest, 0))[..., None])[:, :, 0]
    return tf.where((latest >= 0)[..., None], bins, MISSING)


def _past(table: fields_lib.FieldTable, sources: Sources, columns: tf.Tensor, onset: tf.Tensor | None) -> Past:
    """The past whose notes are these, `[rows, num_fields, size + BEYOND]`."""
    return Past(
        tf.cast(columns, tf.int16),
        matches.runs_of(table, sources, columns) if sources.has_matches else (),
        echoes.moments_of(table, columns, onset, sources.lags, size=sources.size) if sources.lags else (),
    )


def _columns(bins: tf.Tensor, is_note: tf.Tensor) -> tf.Tensor:
    """`[rows, num_fields, notes]` int32 of bins `[rows, notes, num_fields]`."""
    return tf.transpose(tf.where(tf.cast(is_note, tf.bool)[..., None], bins, MISSING), [0, 2, 1])


def _steps(table: fields_lib.FieldTable, notes: tf.Tensor, is_note: tf.Tensor) -> tf.Tensor:
    """`[rows, notes]` int32 ticks since the note before, 0 where there is no note."""
    return tf.where(tf.cast(is_note, tf.bool), notes[..., table.names.index("step")], 0)


def _onsets(table: fields_lib.FieldTable, past: Past, notes: tf.Tensor, is_note: tf.Tensor) -> tf.Tensor | None:
    """`[rows, n]` int32 ticks of the past's notes and of those that follow it; None without lags."""
    if not isinstance(past.moments, Moments):
        return None
    before = past.moments.onset
    return tf.concat([before, before[:, -1:] + tf.cumsum(_steps(table, notes, is_note), axis=1)], axis=1)


def _candidates(
    table: fields_lib.FieldTable, sources: Sources, columns: tf.Tensor, matched: Matches | None, heard: Echoes | None
) -> Candidates:
    """All of them, of events that come after note t + size of `columns` `[rows, num_fields, size + time]`."""
    rows, size = tf.shape(columns)[0], sources.size
    time = tf.shape(columns)[2] - size
    last = tf.tile(tf.range(time)[None, :, None] + size - tf.range(LAST_NOTES), [rows, 1, 1])
    bins = [notes_at(columns, last)]
    if matched is not None:
        bins.insert(0, matched.bins)
    if heard is not None:
        bins.append(heard.bins)
    if sources.chord:
        bins.append(pulses.of_events(table, sources, columns))
    ages = _ages(columns[:, table.names.index("pitch")], time, size)
    return Candidates(tf.concat(bins, axis=2), matched, heard, ages, columns, sources)


def _ages(pitch: tf.Tensor, time: tf.Tensor, size: int) -> tf.Tensor:
    """`[rows, time]`, `Candidates.ages` from the pitches `[rows, size + time]`."""
    backs = [2**power for power in range(NUM_AGES - 1) if 2**power <= size]
    return tf.add_n([tf.cast(pitch[:, size + 1 - back : size + 1 - back + time] >= 0, tf.int32) for back in backs])
