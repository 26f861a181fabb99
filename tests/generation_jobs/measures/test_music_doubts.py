"""Sentences on measures that are too far from the corpus's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from generation_jobs.measures.corpus_comparison import Ceiling, Comparison, Looks, Means, compare
from generation_jobs.measures.music_doubts import doubts
from midi_codec.measures.music_measures import Part, measures
from midi_codec.music.notes import BEATS, MILLISECONDS
from tests.midi_codec.measures.test_music_measures import make_notes

MEASURES = {measure.name: measure for grid in (BEATS, MILLISECONDS) for measure in measures(grid)}


def comparison(name: str, *, of_ceiling: float = 1.0, means=(None, None, None), generated=None, corpus=None):
    ceiling = Ceiling(1.0, 0.0, 0.0, (1.0, 1.0))
    return Comparison(MEASURES[name], generated, corpus, of_ceiling, 0.0, 0.0, ceiling, Means(*means))


def test_music_like_its_corpus_gives_none():
    notes = make_notes(range(0, 12_000, 100), [90] * 120, pitch=[60, 62, 64, 65] * 30)
    parts = [Part(notes)] * 4
    assert not list(doubts(compare(Looks(measures(MILLISECONDS), parts), parts, parts)))


def test_measures_below_four_fifths_of_the_ceiling_are_named():
    unlike = [comparison("pitch", of_ceiling=0.5), comparison("step", of_ceiling=0.79), comparison("drum")]
    (sentence,) = doubts(unlike)
    assert sentence.startswith(
        "The generated music is unlike the corpus in Pitch (0.50), Step to the next note (0.79)."
    )
    assert sentence.endswith("Most likely the model needs more time (--max-minutes) or more pieces.")
    (still_improving,) = doubts(unlike, is_still_improving=True)
    assert still_improving.endswith(
        "Most likely the model needs more time (--max-minutes, --epochs, and another --output)."
    )
    (only_times,) = doubts(unlike[1:])
    assert "the other grid (--time-base of the encode) may suit this music better" in only_times
    (stopped,) = doubts([comparison("key_clarity", of_ceiling=0.7996)], is_still_improving=False)
    assert "unlike the corpus in Key clarity (0.79)." in stopped  # not 0.80, which is the limit
    assert stopped.endswith("Most likely the model needs more pieces.")


def test_the_model_in_the_box_is_not_to_be_trained_longer():
    doubted = [comparison("pitch", of_ceiling=0.5), comparison("recurrence", means=(0.04, 0.49, 0.47))]
    for sentence in [*doubts(doubted, is_box=True), *doubts([comparison("step", of_ceiling=0.5)], is_box=True)]:
        assert "The model in the box is trained: other seeds," in sentence
        assert not any(word in sentence for word in ("--max-minutes", "--attention", "--time-base"))


def test_patterns_that_recur_at_less_than_half_the_rate():
    (sentence,) = doubts([comparison("recurrence", means=(0.04, 0.49, 0.47))])
    assert sentence.startswith(
        "Patterns recur too rarely: 0.04 of a piece's notes belong to one that occurred before in it, 0.49 of the "
        "corpus's, 0.47 of its held-out pieces'. Most likely the model needs"
    )
    assert not list(doubts([comparison("recurrence", means=(0.25, 0.5, None))]))
    assert not list(doubts([comparison("recurrence", means=(None, 0.5, None))]))


@pytest.mark.parametrize(
    "means, want",
    [
        (
            (0.75, 0.90, 0.89),
            "Too few notes are in key: 0.75 of a piece's notes are in one key, 0.90 of the corpus's, ",
        ),
        (
            (0.99, 0.90, None),
            "Too many notes are in key: 0.99 of a piece's notes are in one key, 0.90 of the corpus's.",
        ),
        ((0.87, 0.95, 0.89), None),  # close to the held-out pieces
        ((0.92, 0.95, 0.89), None),
        ((0.875, 0.90, None), None),
        ((None, 0.90, None), None),
        ((0.5, None, 0.90), None),
    ],
)
def test_keys(means, want):
    found = list(doubts([comparison("key_share", means=means)]))
    assert [sentence[: len(want or "")] for sentence in found] == ([want] if want else [])


def test_one_note_for_a_fifth_of_a_piece():
    generated, corpus = (np.zeros(20) for _ in range(2))
    generated[3], generated[4], generated[19] = 0.9375, 0.03125, 0.03125
    corpus[0], corpus[10] = 0.99, 0.01
    (sentence,) = doubts([comparison("longest_note", generated=generated, corpus=corpus)])
    assert sentence.startswith(
        "6.2 % of the pieces have one note for a fifth of their length or more (1.0 % of the corpus's, "
    )
    assert not list(doubts([comparison("longest_note", generated=np.eye(20)[3], corpus=corpus)]))


@pytest.mark.parametrize(
    "caught, of_corpus, is_reported", [(3, 0.125, True), (2, 0.125, False), (1, 0, True), (0, 0, False)]
)
def test_pieces_caught_in_a_loop(caught, of_corpus, is_reported):
    generated, corpus = (np.zeros(20) for _ in range(2))
    generated[18], generated[17] = caught / 8, 1 - caught / 8
    corpus[19], corpus[17] = of_corpus, 1 - of_corpus
    found = list(doubts([dataclasses.replace(comparison("loop", generated=generated, corpus=corpus), num_pieces=8)]))
    assert len(found) == is_reported
    for sentence in found:
        assert sentence.startswith(
            f"{caught} of 8 generated pieces are caught in a loop ({100 * of_corpus:.1f} % of the corpus's, "
        )


def test_loops_are_found_from_notes():
    looped = make_notes(range(0, 1200, 12), [12] * 100, pitch=[60, 64] * 50, time_base=BEATS)
    never = make_notes(range(0, 1200, 12), [12] * 100, pitch=list(range(20, 120)), time_base=BEATS)
    compared = compare(Looks(measures(BEATS), [Part(looped), Part(never)]), [Part(never)] * 2, [Part(never)])
    assert any(
        sentence.startswith("1 of 2 generated pieces are caught in a loop (0.0 %") for sentence in doubts(compared)
    )


def test_what_has_a_sentence_of_its_own_is_not_listed_again():
    rarely = comparison("recurrence", of_ceiling=0.5, means=(0.1, 0.5, 0.5))
    (sentence,) = doubts([rarely])
    assert sentence.startswith("Patterns recur too rarely")
    both = list(doubts([rarely, comparison("pitch", of_ceiling=0.5)]))
    assert "unlike the corpus in Pitch (0.50). The numbers" in both[0] and both[1] == sentence
