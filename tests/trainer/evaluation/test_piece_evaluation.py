import numpy as np
import pytest
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, MIXTURE, MSE, TIME
from tests.trainer.evaluation.test_validation import LENGTHS, make_model, outputs_of
from tests.trainer.tiny import make_many, make_table
from trainer.data.pieces import stack_pieces
from trainer.evaluation.calibration import CONFIDENCE_BINS
from trainer.evaluation.measures import TOP, measure_names
from trainer.evaluation.piece_evaluation import evaluate_pieces
from trainer.evaluation.validation import Evaluator

DEVIATIONS = {"step": 7.0, "duration": 15.0}


@pytest.fixture(scope="module", params=[CATEGORICAL, MSE, MIXTURE])
def model(request):
    return make_model(make_table(timing_loss=request.param))


def deviations_of(model) -> dict[str, float]:
    return {name: value for name, value in DEVIATIONS.items() if model.table[name].loss == MSE}


def test_each_piece_is_what_it_is_by_itself(model):
    many, table = make_many(LENGTHS), model.table
    pieces = stack_pieces(many, table)
    got = evaluate_pieces(model, pieces, deviations=deviations_of(model), batch_size=3, chunk=16)
    assert list(got.sums) == measure_names(table, top=TOP)
    for number, notes in enumerate(many):
        batch, outputs = outputs_of(model, notes)
        for index, field in enumerate(table):
            nll = model.field_nll(field, outputs, batch.as_dict(), DEVIATIONS.get(field.name)).numpy()
            assert got.sums[f"nll_{field.name}"][number] == pytest.approx(nll.sum(), rel=2e-5)
            raw = batch.raw[0, :-1, index]
            if field.loss == CATEGORICAL:
                order = np.argsort(-outputs.fields[field.name].numpy()[0, :-1], axis=1, kind="stable")
                place = (order == batch.bins[0, :-1, index, None]).argmax(axis=1)
                for k in TOP:
                    assert got.sums[f"top{k}_{field.name}"][number] == (place < k).sum()
            if field.kind == TIME:
                miss = abs(model.point_guess(field, outputs).numpy()[0, :-1] - raw).sum()
                assert got.sums[f"error_{field.name}"][number] == pytest.approx(miss, rel=1e-4)


def test_counts_hold_every_note_once(model):
    pieces = stack_pieces(make_many(LENGTHS), model.table)
    got = evaluate_pieces(model, pieces, deviations=deviations_of(model), batch_size=3, chunk=16)
    assert set(got.pit) == {"step", "duration"}
    for counts in got.pit.values():
        assert counts.sum() == pytest.approx(sum(LENGTHS), rel=1e-9)
    assert set(got.reliability) == {field.name for field in model.table if field.loss == CATEGORICAL}
    for name, counts in got.reliability.items():
        assert counts.shape == (CONFIDENCE_BINS, 3)
        assert counts[:, 0].sum() == sum(LENGTHS)
        assert counts[:, 2].sum() == got.sums[f"top1_{name}"].sum()


def test_sums_are_those_of_the_loops_evaluation(model):
    pieces = stack_pieces(make_many(LENGTHS), model.table)
    whole = Evaluator(model, tf.distribute.OneDeviceStrategy("/cpu:0"), batch_size=4).evaluate(pieces)
    got = evaluate_pieces(model, pieces, deviations=whole.deviations, batch_size=64)
    for name, nll in whole.nll_by_field.items():
        assert got.sums[f"nll_{name}"].sum() / pieces.num_notes == pytest.approx(nll, rel=1e-6)
    for name, accuracy in whole.accuracy.items():
        assert got.sums[f"top1_{name}"].sum() / pieces.num_notes == accuracy
    for name, error in whole.error_milliseconds.items():
        assert got.sums[f"error_{name}"].sum() / pieces.num_notes == pytest.approx(error, rel=1e-5)


def test_progress_is_told_and_may_end_it():
    model, told = make_model(make_table()), []
    pieces = stack_pieces(make_many(LENGTHS), model.table)
    evaluate_pieces(model, pieces, deviations={}, batch_size=3, chunk=16, after_chunk=told.append)
    assert sum(told) == len(pieces.raw) and max(told) <= 3 * 16

    def stop(events: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        evaluate_pieces(model, pieces, deviations={}, batch_size=3, chunk=16, after_chunk=stop)
