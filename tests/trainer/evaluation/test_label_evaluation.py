import dataclasses

import numpy as np
import pytest

from midi_codec.dataset.labels import Vocabulary
from tests.trainer.evaluation.test_validation import EVERY_HEAD, make_model, outputs_of, stack
from tests.trainer.tiny import make_many, make_notes
from trainer.data.pieces import Pieces, stack_pieces
from trainer.evaluation.label_evaluation import evaluate_labels, plan
from trainer.evaluation.piece_evaluation import evaluate_pieces

pytestmark = pytest.mark.usefixtures("eagerly")
MANY = Vocabulary(name="composer", values=tuple(f"c{number:02}" for number in range(40)))


def pieces_of(vocabulary: Vocabulary, *values: str) -> Pieces:
    table = dataclasses.replace(EVERY_HEAD, labels=(vocabulary,))
    many = [make_notes(number, num_notes=3 + number) for number in range(len(values))]
    return stack_pieces(many, table, labels=[{vocabulary.name: value} for value in values])


def test_each_piece_costs_what_it_costs_with_each_value():
    """Composer is Bach, Mozart, no value of the model's and none; all but the first and fourth are live."""
    model, many = make_model(EVERY_HEAD), make_many([12, 20, 5, 9])
    pieces, deviations = stack(many), {"step": 7.0}

    def nats(piece: int, labels: dict[str, str]) -> float:
        batch, outputs = outputs_of(model, many[piece], labels)
        return sum(
            float(model.field_nll(field, outputs, batch.as_dict(), deviations.get(field.name)).numpy().sum())
            for field in EVERY_HEAD
        )

    def measure(rows: Pieces, labels: np.ndarray | None = None) -> np.ndarray:
        return evaluate_pieces(model, rows, deviations=deviations, batch_size=3, labels=labels, chunk=8).nats()

    sums, about = evaluate_labels(measure, pieces, measure(pieces), plan(pieces, most_values=8))
    want = {
        "own_composer": [nats(0, {"composer": "Bach"}), nats(1, {"composer": "Mozart", "live": "yes"}), 0, 0],
        "unknown_composer": [nats(0, {}), nats(1, {"live": "yes"}), 0, 0],
        "others_composer": [nats(0, {"composer": "Mozart"}), nats(1, {"composer": "Bach", "live": "yes"}), 0, 0],
        "known_composer": [1, 1, 0, 0],
        "own_live": [0, nats(1, {"composer": "Mozart", "live": "yes"}), nats(2, {"live": "yes"}), 0],
        "unknown_live": [0, nats(1, {"composer": "Mozart"}), nats(2, {}), 0],
        "known_live": [0, 1, 1, 0],
    }
    want["likeliest_composer"] = np.less(want["own_composer"], want["others_composer"]).astype(int).tolist()
    assert sums.keys() == want.keys()
    for name, column in want.items():
        assert sums[name] == pytest.approx(column, rel=2e-5), name
    assert abs(sums["own_composer"] - sums["others_composer"])[:2].min() > 0.1  # so that the labels are heard
    assert about == {
        "composer": {"num_pieces": 2, "num_values": 2, "by_chance": 0.5, "commonest": 0.5},
        "live": {"num_pieces": 2, "num_values": 1, "by_chance": 1.0, "commonest": 1.0},
    }


def test_all_other_values_where_there_are_few():
    pieces = pieces_of(Vocabulary(name="composer", values=("a", "b", "c")), "b", "?", "c")
    changed = plan(pieces, most_values=3)
    assert list(zip(changed.piece.tolist(), changed.value.tolist(), strict=True)) == [
        *((0, value) for value in (0, 1, 3)),
        *((2, value) for value in (0, 1, 2)),
    ]
    assert changed.num_values == (3,)
    assert changed.labels(pieces).tolist() == [[0], [1], [3], [0], [1], [2]]
    assert pieces.labels.tolist() == [[2], [0], [3]], "the pieces' own labels have changed"


def test_of_many_values_some_are_drawn_by_the_piece():
    pieces = pieces_of(MANY, *(f"c{number % 40:02}" for number in range(200)))
    changed = plan(pieces, most_values=8)
    values = changed.value.reshape(200, 8)
    assert (values[:, 0] == 0).all()
    assert (np.diff(values) > 0).all(), "a value is drawn twice"
    assert not (values == pieces.labels).any(), "a piece's own value is drawn"
    counts = np.bincount(values[:, 1:].ravel(), minlength=41)[1:]
    assert counts.sum() == 1400 and counts.min() > 15 and counts.max() < 60  # 35 expected, also of the first and last
    backwards = dataclasses.replace(pieces, index=pieces.index[::-1])
    assert (plan(backwards, most_values=8).value.reshape(200, 8)[::-1] == values).all()


def test_one_value_is_only_compared_with_none_and_no_value_with_nothing():
    pieces = pieces_of(MANY, "c01", "c02")
    assert plan(pieces, most_values=1).value.tolist() == [0, 0]
    sums, _ = evaluate_labels(
        lambda rows, _: np.full(rows.num_pieces, 7.0), pieces, np.ones(2), plan(pieces, most_values=1)
    )
    assert {name: column.tolist() for name, column in sums.items()} == {
        "known_composer": [1, 1],
        "own_composer": [1, 1],
        "unknown_composer": [7, 7],
    }
    none = plan(pieces, most_values=0)
    assert not len(none.piece)
    assert evaluate_labels(pytest.fail, pieces, np.ones(2), none) == ({}, {})
    unlabelled = stack_pieces(make_many([4]), dataclasses.replace(EVERY_HEAD, labels=()))
    assert not len(plan(unlabelled, most_values=8).piece)


def test_equal_likelihoods_count_as_what_a_guess_is_worth():
    """Of four values: likeliest alone, as likely as one and as two others, and less likely."""
    pieces = pieces_of(Vocabulary(name="composer", values=("a", "b", "c", "d")), "a", "a", "a", "a")
    own, others = np.array([1.0, 2.0, 2.0, 3.0]), np.array([[2, 3, 4], [2, 3, 4], [2, 2, 4], [2, 4, 6]])
    found = np.column_stack([np.full(4, 9.0), others])
    sums, _ = evaluate_labels(lambda *_: found.ravel(), pieces, own, plan(pieces, most_values=4))
    assert sums["likeliest_composer"].tolist() == [1, 1 / 2, 1 / 3, 0]
    assert sums["others_composer"].tolist() == [3, 3, 8 / 3, 4]
    assert sums["unknown_composer"].tolist() == [9, 9, 9, 9]
