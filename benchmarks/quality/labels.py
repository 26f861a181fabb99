"""Whether generated pieces have the labels that were asked for: does a classifier of real pieces recognise them?

    python -m benchmarks.labels --data dataset --label composer --music music

The classifier is a logistic regression on histograms of excerpts as long as the generated pieces: pitch classes,
registers, velocities, steps, durations and intervals. It is trained on the training split. How often it is right on
excerpts of the other two splits is what generated music can reach; both are shown with 95% intervals, of pieces for the
corpus and of seeds' samples for generated music, and the chance is that of a guess. Each piece of `--music` has one
value of the label in its settings.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from generation_jobs.output import generated_music
from job_runtime import command
from job_runtime.command_line.settings import add_number
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, split_reader
from midi_codec.music.notes import Notes

PROGRAM = "python -m benchmarks.labels"
TIMES = np.geomspace(4, 4000, 15)  # bounds of bins of ticks
STEPS = 600  # of the regression
RATE, DECAY = 5.0, 1e-3
RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Excerpts:
    """Features `[n, width]`, the index of each excerpt's label, and the number of the piece it is from."""

    features: np.ndarray
    label: np.ndarray
    piece: np.ndarray


def features(notes: Notes) -> np.ndarray:
    """Square roots of shares: their products are similarities of histograms."""
    pitch = notes.pitch.astype(np.int64)
    counts = [
        np.bincount(pitch % 12, minlength=12),
        np.bincount(pitch // 6, minlength=22),
        np.bincount(notes.velocity // 8, minlength=16),
        *(np.bincount(np.digitize(times, TIMES), minlength=16) for times in (notes.step[1:], notes.duration)),
        np.bincount(np.clip(np.diff(pitch), -18, 18) + 18, minlength=37),
    ]
    return np.concatenate([np.sqrt(each / max(each.sum(), 1)) for each in counts])


def cut(notes: Notes, length: int) -> Iterator[Notes]:
    """Successive excerpts of so many notes; a shorter piece is one."""
    for begin in range(0, max(len(notes) - length, 0) + 1, length):
        yield notes.take(slice(begin, begin + length))


def excerpts_of(labelled: Iterable[tuple[Notes, str]], labels: Sequence[str], length: int) -> Excerpts:
    """Excerpts of pieces with these labels; others are left out."""
    rows = [
        (features(excerpt), labels.index(label), number)
        for number, (notes, label) in enumerate(labelled)
        if label in labels
        for excerpt in cut(notes, length)
    ]
    if not rows:
        raise UserError("there is no piece with one of the labels")
    columns = list(zip(*rows, strict=True))
    return Excerpts(np.stack(columns[0]), np.array(columns[1]), np.array(columns[2]))


class Classifier:
    """Multinomial logistic regression; each label counts alike, however many excerpts it has."""

    def __init__(self, train: Excerpts, num_labels: int):
        self._mean, self._spread = train.features.mean(axis=0), train.features.std(axis=0) + 0.01
        x, wanted = self._inputs(train.features), np.eye(num_labels)[train.label]
        weight = (1 / np.bincount(train.label, minlength=num_labels))[train.label, None] / num_labels
        self._weights = np.zeros((x.shape[1], num_labels))
        for _ in range(STEPS):
            gradient = x.T @ (weight * (self._shares(x) - wanted))
            self._weights -= RATE * (gradient + DECAY * self._weights)

    def _inputs(self, rows: np.ndarray) -> np.ndarray:
        scaled = (rows - self._mean) / self._spread / np.sqrt(rows.shape[1])
        return np.concatenate([scaled, np.ones((len(rows), 1))], axis=1)

    def _shares(self, x: np.ndarray) -> np.ndarray:
        logits = x @ self._weights
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def guess(self, rows: np.ndarray) -> np.ndarray:
        return self._shares(self._inputs(rows)).argmax(axis=1)


def mean_recall(guess: np.ndarray, label: np.ndarray, num_labels: int) -> float:
    """The mean over the labels that occur of how often each is recognised."""
    return float(np.mean([(guess[label == own] == own).mean() for own in range(num_labels) if (label == own).any()]))


def measure(classifier: Classifier, excerpts: Excerpts, num_labels: int) -> dict[str, object]:
    """Mean recall with a bootstrap interval over pieces, and the guesses by label."""
    guess = classifier.guess(excerpts.features)
    rng = np.random.default_rng(0)
    of_piece = [np.flatnonzero(excerpts.piece == piece) for piece in np.unique(excerpts.piece)]
    by_label = [[rows for rows in of_piece if excerpts.label[rows[0]] == own] for own in range(num_labels)]
    resampled = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([own[i] for own in by_label if own for i in rng.integers(0, len(own), len(own))])
        resampled.append(mean_recall(guess[rows], excerpts.label[rows], num_labels))
    confusion = np.zeros((num_labels, num_labels), int)
    np.add.at(confusion, (excerpts.label, guess), 1)
    low, high = np.percentile(resampled, [2.5, 97.5]).round(3).tolist()
    recall = round(mean_recall(guess, excerpts.label, num_labels), 3)
    return {"recall": recall, "low": low, "high": high, "confusion": confusion.tolist()}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True, help="a dataset with the label")
    parser.add_argument("--label", required=True, help="its name")
    parser.add_argument("--music", required=True, nargs="+", help="outputs of generation jobs")
    add_number(parser, "--notes", 200, "of an excerpt", at_least=16)
    args = parser.parse_args(argv)
    info = dataset_info.load(args.data)
    generated = {
        root: [
            (piece.notes, piece.line["settings"]["label"][args.label])
            for piece in generated_music.read(root, time_base=info.time_base)
        ]
        for root in args.music
    }
    labels = sorted({label for pieces in generated.values() for _, label in pieces})
    splits = {
        split: [
            (piece.notes, piece.labels.get(args.label, "")) for piece in split_reader.read_split(args.data, info, split)
        ]
        for split in dataset_info.SPLITS
    }
    classifier = Classifier(excerpts_of(splits.pop("train"), labels, args.notes), len(labels))
    held_out = excerpts_of([piece for pieces in splits.values() for piece in pieces], labels, args.notes)
    found = {"held-out pieces": measure(classifier, held_out, len(labels))}
    for root, pieces in generated.items():
        found[root] = measure(classifier, excerpts_of(pieces, labels, args.notes), len(labels))
    print(f"labels {', '.join(labels)}; by chance {1 / len(labels):.3f}")
    for name, figures in found.items():
        print(f"{name}: {figures['recall']} recognised, 95% interval {figures['low']} to {figures['high']}")
        for label, row in zip(labels, np.array(figures["confusion"]), strict=True):
            print(f"  {label:<12} " + " ".join(f"{count:>6}" for count in row))
    print(json.dumps({"labels": labels, "notes": args.notes, **found}))
    return command.OK


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
