import numpy as np
import pytest
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, TIME
from tests.trainer.evaluation.test_validation import EVERY_HEAD, LENGTHS, make_model, outputs_of, stack
from tests.trainer.tiny import make_labels, make_many
from trainer.data.pieces import Pieces
from trainer.evaluation.calibration import CONFIDENCE_BINS
from trainer.evaluation.measures import TOP, measure_names
from trainer.evaluation.piece_evaluation import PieceSums, evaluate_pieces
from trainer.evaluation.validation import Evaluation, Evaluator
from trainer.model.note_model import NoteModel

BATCH_SIZE, CHUNK = 3, 16


@pytest.fixture(scope="module")
def model() -> NoteModel:
    return make_model(EVERY_HEAD)


@pytest.fixture(scope="module")
def pieces() -> Pieces:
    return stack(make_many(LENGTHS))


@pytest.fixture(scope="module")
def whole(model, pieces) -> Evaluation:
    """The training loop's evaluation, op by op."""
    tf.config.run_functions_eagerly(True)
    evaluation = Evaluator(model, tf.distribute.OneDeviceStrategy("/cpu:0"), batch_size=4).evaluate(pieces)
    tf.config.run_functions_eagerly(False)
    return evaluation


@pytest.fixture(scope="module")
def measured(model, pieces, whole) -> tuple[PieceSums, list[int]]:
    """What is measured, and the events of each chunk."""
    told: list[int] = []
    settings = {"deviations": whole.deviations, "batch_size": BATCH_SIZE, "chunk": CHUNK}
    return evaluate_pieces(model, pieces, **settings, after_chunk=told.append), told


def test_each_piece_is_what_it_is_by_itself(model, measured, whole):
    got, _ = measured
    assert list(got.sums) == measure_names(EVERY_HEAD, top=TOP)
    for number, notes in enumerate(make_many(LENGTHS)):
        batch, outputs = outputs_of(model, notes, make_labels(number))
        for index, field in enumerate(EVERY_HEAD):
            nll = model.field_nll(field, outputs, batch.as_dict(), whole.deviations.get(field.name)).numpy()
            assert got.sums[f"nll_{field.name}"][number] == pytest.approx(nll.sum(), rel=2e-5)
            raw = batch.raw[0, :-1, index]
            if field.loss == CATEGORICAL:
                order = np.argsort(-outputs.fields[field.name].numpy()[0, :-1], axis=1, kind="stable")
                rank = (order == batch.bins[0, :-1, index, None]).argmax(axis=1)
                for k in TOP:
                    assert got.sums[f"top{k}_{field.name}"][number] == (rank < k).sum()
            if field.kind == TIME:
                miss = abs(model.point_guess(field, outputs).numpy()[0, :-1] - raw).sum()
                assert got.sums[f"error_{field.name}"][number] == pytest.approx(miss, rel=1e-4)


def test_counts_hold_every_note_once(measured):
    got, _ = measured
    assert set(got.pit) == {"step", "duration"}
    for counts in got.pit.values():
        assert counts.sum() == pytest.approx(sum(LENGTHS), rel=1e-9)
    assert set(got.reliability) == {"pitch", "velocity"}
    for name, counts in got.reliability.items():
        assert counts.shape == (CONFIDENCE_BINS, 3)
        assert counts[:, 0].sum() == sum(LENGTHS)
        assert counts[:, 2].sum() == got.sums[f"top1_{name}"].sum()


def test_sums_are_those_of_the_loops_evaluation(pieces, measured, whole):
    got, _ = measured
    for name, nll in whole.nll_by_field.items():
        assert got.sums[f"nll_{name}"].sum() / pieces.num_notes == pytest.approx(nll, rel=1e-6)
    for name, accuracy in whole.accuracy.items():
        assert got.sums[f"top1_{name}"].sum() / pieces.num_notes == accuracy
    for name, error in whole.error_milliseconds.items():
        assert got.sums[f"error_{name}"].sum() / pieces.num_notes == pytest.approx(error, rel=1e-5)


def test_progress_is_told(pieces, measured):
    _, told = measured
    assert sum(told) == pieces.total_events and max(told) <= BATCH_SIZE * CHUNK
