import numpy as np
import pytest

from midi_codec.music.notes import Notes
from tests.trainer.tiny import make_many, make_table
from trainer.data import pieces
from trainer.data.pieces import stack_pieces
from trainer.evaluation import baselines, kneser_ney
from trainer.evaluation.baselines import score_baselines

TABLE = make_table()


def make_piece(pitches: list[int], steps: list[int]) -> Notes:
    return Notes.from_columns(
        pitch=np.array(pitches),
        velocity=np.full(len(pitches), 40),
        start=np.cumsum(steps),
        duration=np.full(len(pitches), 20),
        program=np.zeros(len(pitches), np.int64),
    )


TRAIN = stack_pieces([make_piece([60, 62, 60], [0, 3, 3]), make_piece([60, 62], [0, 8])], TABLE)
HELD_OUT = stack_pieces([make_piece([60, 65], [0, 8])], TABLE)


def test_pitch_by_hand():
    scores = score_baselines(TRAIN, HELD_OUT, TABLE)
    # Training symbols: 60 62 60 END | 60 62 END. Counts 60: 3, 62: 2, 65: 0, END: 2; one more each of 11.
    unigram = {60: 4 / 11, 62: 3 / 11, 65: 1 / 11, "END": 3 / 11}
    want = -np.log(unigram[60] * unigram[65] * unigram["END"])
    assert scores["unigram"].by_field["pitch"] == pytest.approx(want / 2, rel=1e-12)
    # After the start: 60 twice, one follower. After 60: 62 twice, END once, two followers. After 65: never seen.
    after_start = (2 + 1 * unigram[60]) / (2 + 1)
    after_60 = (0 + 2 * unigram[65]) / (3 + 2)
    want = -np.log(after_start * after_60 * unigram["END"])
    assert scores["bigram"].by_field["pitch"] == pytest.approx(want / 2, rel=1e-12)


def test_step_by_hand():
    scores = score_baselines(TRAIN, HELD_OUT, TABLE)
    # Bins of 0, 3, 3 | 0, 8 are 0, 1, 1 | 0, 2; the bins hold 1, 4, 15 ticks. Held out: 0, 8 are bins 0, 2.
    unigram = np.array([3, 3, 2, 1, 1]) / 10
    want = -np.log(unigram[0] * unigram[2] / 15)
    assert scores["unigram"].by_field["step"] == pytest.approx(want / 2, rel=1e-6)
    # After the start: 0 twice. After bin 0: bins 1 and 2, once each.
    after_start = (2 + 1 * unigram[0]) / 3
    after_0 = (1 + 2 * unigram[2]) / 4
    assert scores["bigram"].by_field["step"] == pytest.approx(-np.log(after_start * after_0 / 15) / 2, rel=1e-6)


def test_the_whole_is_the_sum_of_its_fields():
    for score in score_baselines(TRAIN, HELD_OUT, TABLE).values():
        assert score.nll == pytest.approx(sum(score.by_field.values()), rel=1e-12)
        assert set(score.by_field) == {"step", "pitch", "duration", "velocity"}


def test_every_context_has_probability_one_to_give():
    counts = baselines.pair_counts(TRAIN, TABLE)[1]
    unigram, bigram = baselines._models(counts, TABLE["pitch"])
    assert unigram.sum() == pytest.approx(1, rel=1e-12)
    assert bigram.shape == (len(unigram), len(unigram))
    assert bigram.sum(axis=1) == pytest.approx(np.ones(len(unigram)), rel=1e-12)  # of 65 too, which has no follower


def test_block_by_block_the_figures_are_the_same(monkeypatch):
    train, held_out = stack_pieces(make_many([40, 3, 25, 9]), TABLE), stack_pieces(make_many([7, 30, 12]), TABLE)
    want = baselines.piece_costs(train, held_out, TABLE)
    for module in (pieces, kneser_ney):
        monkeypatch.setattr(module, "BLOCK_EVENTS", 20)
    got = baselines.piece_costs(train, held_out, TABLE)
    assert len(list(train.blocks())) > 2
    for name, by_field in want.items():
        for field, costs in by_field.items():
            assert got[name][field].tolist() == pytest.approx(costs.tolist(), rel=1e-12), (name, field)


def test_a_piece_that_repeats_its_corpus_is_cheaper_by_bigram():
    train, held_out = stack_pieces(make_many([40] * 8), TABLE), stack_pieces(make_many([40] * 2), TABLE)
    scores = score_baselines(train, held_out, TABLE)
    assert scores["bigram"].by_field["pitch"] < scores["unigram"].by_field["pitch"] - 0.2
