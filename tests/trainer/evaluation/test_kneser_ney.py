from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from midi_codec import fields
from trainer.evaluation import kneser_ney
from trainer.evaluation.kneser_ney import KneserNey

SIZES = [3, 4, 2]


def reference(symbols, contexts, num_symbols):
    """Chen and Goodman's recursion with dictionaries, a gram as (symbol, context nearest first)."""
    levels = [Counter((s, tuple(c)) for s, c in zip(symbols.tolist(), contexts.tolist(), strict=True))]
    for length in reversed(range(contexts.shape[1])):
        levels.append(Counter((s, c[:length]) for s, c in levels[-1]))
    levels.reverse()

    def probability(symbol, context):
        found = 1 / num_symbols
        for length, counts in enumerate(levels):
            discounts = kneser_ney.discounts_of(np.array(list(counts.values())))
            same = {s: n for (s, c), n in counts.items() if c == context[:length]}
            if same:
                freed = sum(discounts[min(n, 3)] for n in same.values())
                count = same.get(symbol, 0)
                found = (count - discounts[min(count, 3)] + freed * found) / sum(same.values())
        return found

    return probability


def some_grams(count):
    rng = np.random.default_rng(7)
    contexts = np.stack([rng.integers(0, size, count) for size in SIZES], axis=1)
    return (contexts[:, 0] + contexts[:, 1] + rng.integers(0, 2, count)) % 5, contexts


def test_agrees_with_the_recursion_in_the_paper():
    symbols, contexts = some_grams(40)
    model = KneserNey(symbols, contexts, num_symbols=6, sizes=SIZES)
    other_symbols, other_contexts = some_grams(60)
    expected = reference(symbols, contexts, 6)
    wanted = [expected(s, tuple(c)) for s, c in zip(other_symbols.tolist(), other_contexts.tolist(), strict=True)]
    np.testing.assert_allclose(model.probability(other_symbols, other_contexts), wanted, rtol=1e-12)


def test_probabilities_of_all_symbols_add_up_to_one_in_any_context():
    symbols, contexts = some_grams(20)
    model = KneserNey(symbols, contexts, num_symbols=6, sizes=SIZES)
    every = np.stack(np.meshgrid(*(range(size) for size in SIZES)), axis=-1).reshape(-1, 3)
    rows = [model.probability(np.full(len(every), symbol), every) for symbol in range(6)]
    np.testing.assert_allclose(np.sum(rows, axis=0), 1.0, rtol=1e-12)
    assert np.min(rows) > 0


def test_discounts():
    np.testing.assert_allclose(
        kneser_ney.discounts_of(np.array([1, 1, 1, 2, 2, 3, 4])), [0, 3 / 7, 19 / 14, 9 / 7], rtol=1e-15
    )
    np.testing.assert_array_equal(kneser_ney.discounts_of(np.array([5, 6])), [0, 0.75, 0.75, 0.75])


def test_contexts_hold_what_is_known_and_nothing_of_other_pieces():
    bins = np.array([[0, 10], [1, 11], [0, 0], [2, 12], [0, 0]])  # two notes and END, one note and END
    found = kneser_ney.symbols_at(bins, np.array([0, 3, 5]), [(0, 0), (1, 1), (2, 0)], [7, 20])
    np.testing.assert_array_equal(found, [[0, 20, 7], [1, 10, 7], [0, 11, 0], [2, 20, 7], [0, 12, 7]])


@pytest.mark.parametrize("index", range(4))
def test_no_layout_sees_what_comes_later(index):
    for layout in kneser_ney.layouts(index, 4).values():
        assert len(layout) == kneser_ney.ORDER - 1
        assert all(lag > 0 or field < index for lag, field in layout)
    assert all(lag > 0 for layout in kneser_ney.end_layouts(4).values() for lag, _ in layout)


def make_table():
    histogram = (np.arange(16), np.ones(16, np.int64))
    return fields.build_field_table({"step": histogram, "duration": histogram}, programs=(0,), time_base="milliseconds")


def tunes(pieces, length):
    """Pieces of one pattern of four notes, each with its END."""
    note = np.arange(length) % 4
    piece = np.stack([note, 60 + note, 3 - note, 64 + note], axis=1)
    piece = np.concatenate([piece, np.zeros((1, 4), np.int64)])
    return np.tile(piece, (pieces, 1)), np.arange(pieces + 1) * (length + 1)


def score(learned, held_out, table):
    """Nats per note of held-out tunes, by field."""
    costs = kneser_ney.piece_costs(learned, held_out, table)
    return {name: per_piece.sum() / (held_out[1][-1] - len(per_piece)) for name, per_piece in costs.items()}


def test_a_pattern_is_learned_and_its_end_costs():
    learned, held_out = tunes(50, 20), tunes(2, 20)
    found = score(learned, held_out, make_table())
    assert found.keys() == {"step", "pitch", "duration", "velocity"}
    assert max(found["step"], found["duration"], found["velocity"]) < 0.01
    # four notes in a row tell where in the pattern one is, not which time round: an END after every fifth fourth note
    end = -(np.log(1 / 5) + 4 * np.log(4 / 5)) / 20
    assert found["pitch"] == pytest.approx(end, abs=0.02)


def test_time_bins_cost_their_width():
    table = make_table()
    wide = fields.FieldSpec(name="step", kind="time", edges=(0, 1, 2, 3, 1000))
    wider = fields.FieldTable((wide, *table.fields[1:]), table.time_base, 0)
    learned, held_out = tunes(10, 20), tunes(1, 20)
    narrow = fields.FieldSpec(name="step", kind="time", edges=(0, 1, 2, 3, 4))
    narrower = fields.FieldTable((narrow, *table.fields[1:]), table.time_base, 0)
    found = [score(learned, held_out, either)["step"] for either in (wider, narrower)]
    assert found[0] - found[1] == pytest.approx(np.log(997) / 4, rel=1e-12)


def test_costs_are_those_of_each_piece():
    learned, held_out = tunes(50, 20), tunes(2, 20)
    both = kneser_ney.piece_costs(learned, held_out, make_table())
    alone = kneser_ney.piece_costs(learned, tunes(1, 20), make_table())
    assert all(both[name].tolist() == [*alone[name]] * 2 for name in alone)


def test_of_a_large_corpus_it_learns_from_the_first_whole_pieces(monkeypatch):
    table, held_out = make_table(), tunes(1, 20)
    bins, first_event = tunes(9, 20)
    bins[63:] = 0  # from the fourth piece on it is other music
    monkeypatch.setattr(kneser_ney, "MAX_LEARNED", 83)  # the fourth does not fit
    assert score((bins, first_event), held_out, table) == score(tunes(3, 20), held_out, table)
    monkeypatch.setattr(kneser_ney, "MAX_LEARNED", 5)  # not even one fits
    assert score((bins, first_event), held_out, table) == score(tunes(1, 20), held_out, table)
