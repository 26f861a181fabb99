"""Files damaged in many ways are read, or refused for a known reason; nothing else.

`python -m benchmarks.fuzz_midi` does the same at length, in child processes, and looks at time and memory.
"""

import struct

import numpy as np
import pytest

from benchmarks.correctness import fuzz_midi
from benchmarks.correctness.mutations import MUTATORS, mutated
from midi_codec.midi import midi_file, midi_writer
from midi_codec.music.notes import Notes
from tests.midi_codec.midi_bytes import midi

NUM_PARTS, FILES_A_PART = 4, 250


def performance(key: int) -> bytes:
    """As from a sequencer: several programs, tempos, texts."""
    random = np.random.Generator(np.random.Philox(key))
    notes = Notes.from_columns(
        pitch=random.integers(40, 80, 80),
        velocity=random.integers(1, 128, 80),
        start=random.integers(0, 20_000, 80),
        duration=random.integers(0, 900, 80),
        program=random.choice([0, 24, 33, 128], 80),
    )
    return midi_writer.serialize(notes, texts=["a text", "another"])


def sources() -> list[bytes]:
    song = midi(
        "00 ff 03 04 53 6f 6e 67  00 ff 51 03 06 8a 1b  83 00 ff 51 03 07 a1 20  00 ff 59 02 00 00",
        "00 c0 18  00 b0 40 7f" + 30 * "00 90 3c 40  20 3c 00  10 3e 50  20 3e 00" + "00 b0 40 00",
        "00 f0 05 7e 7f 09 01 f7  00 99 24 7f" + 30 * "30 89 24 00  00 99 26 64  30 89 26 00  00 99 24 7f",
        "00 91 3c 40  81 00 91 3c 41  82 00 81 3c 00  00 e1 00 40  00 d1 10",  # without its second end
    )
    loud = midi("00 90 3c 40" + 20 * "30 90 3c c8  30 80 3c 00  00 b0 07 ff")
    riff = b"RIFF" + struct.pack("<I", len(song) + 12) + b"RMIDdata" + struct.pack("<I", len(song)) + song
    return [*(performance(key) for key in range(4)), song, song, loud, riff]


@pytest.mark.parametrize("part", range(NUM_PARTS))
def test_damaged_files_give_sound_notes_or_a_known_reason(part):
    files = sources()
    outcomes = {fuzz_midi.examine(mutated(files, (part, number))) for number in range(FILES_A_PART)}
    assert {"strict", "repaired", "refused: no_header"} <= outcomes  # the mutations reach all parts of the reader


def test_a_key_gives_the_same_file_again():
    files = sources()
    assert [mutated(files, (5, number)) for number in range(20)] == [
        mutated(files, (5, number)) for number in range(20)
    ]
    assert len({mutated(files, (5, number)) for number in range(20)}) == 20


@pytest.mark.parametrize("mutate", MUTATORS)
def test_every_mutation_changes_some_file(mutate):
    files = sources()
    random = np.random.Generator(np.random.Philox(1))
    results = []
    for data in files:
        changed = bytearray(data)
        mutate(changed, files, random)
        results.append(bytes(changed) != data)
    assert any(results)


def test_what_is_read_of_a_batch_is_what_is_read_of_each_file():
    originals = sources()
    files = [mutated(originals, (99, number)) for number in range(200)]
    parsed = midi_file.parse_many(files)
    pieces = dict(zip(parsed.rows.tolist(), map(parsed.batch.piece, range(len(parsed.batch))), strict=True))
    for row, data in enumerate(files):
        alone = midi_file.parse_many([data])
        if alone.errors:
            assert parsed.errors[row].reason == alone.errors[0].reason
        else:
            assert pieces[row] == alone.batch.piece(0)
            assert parsed.salvage_levels.get(row) == alone.salvage_levels.get(0)
