import dataclasses

import numpy as np
import pytest

from beam_pipelines.encoding import part_file
from beam_pipelines.encoding.encode_chunk import PartBuilder
from beam_pipelines.encoding.ledger import Reject, Salvaged
from beam_pipelines.encoding.part_file import DamagedPartError, Part
from midi_codec.dataset import records, tfrecord_framing
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import MILLISECONDS
from tests.beam_pipelines.corpora import make_notes, make_settings

PIECES = [make_notes(number) for number in range(7)]
SOURCES = [f"caf\udce9/{number}.mid" for number in range(7)]


@pytest.fixture
def built() -> tuple[Part, bytes]:
    builder = PartBuilder(make_settings(num_shards=3))
    builder.add_pieces(NoteBatch.from_notes(PIECES[:4], MILLISECONDS), SOURCES[:4])
    builder.add_pieces(NoteBatch.from_notes(PIECES[4:], MILLISECONDS), SOURCES[4:])
    builder.reject(Reject("x.mid", None, "read", "too_large", "large"))
    builder.salvaged.append(Salvaged(SOURCES[0], "ff", "clamped"))
    assert builder.add_content("a.mid", b"k" * 32)
    return builder.build()


def plain(part: Part) -> dict:
    fields = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    fields["counts"] = {s: {c: [a.tolist() for a in pair] for c, pair in cs.items()} for s, cs in part.counts.items()}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}


def test_a_part_comes_back(built, tmp_path):
    part, data = part_file.pack(*built)
    (tmp_path / "a.part").write_bytes(data)
    assert plain(part_file.read_header(str(tmp_path / "a.part"), size=len(data))) == plain(part)
    assert part.num_inputs == 8
    assert part.rows["num_notes"].tolist() == [24] * 7


def test_rows_say_where_each_record_lies(built):
    part, data = part_file.pack(*built)
    notes = {source: piece.from_first_onset() for source, piece in zip(SOURCES, PIECES, strict=True)}
    for row, source in zip(part.rows, part.sources, strict=True):
        framed = data[int(row["offset"]) : int(row["offset"] + row["length"])]
        (record,) = tfrecord_framing.read_records(framed)
        piece = records.deserialize_example(record, time_base=MILLISECONDS)
        assert (piece.source, piece.piece_id) == (source, row["piece_id"].decode())
        assert piece.notes == notes[source]
    assert part.rows["shard"].tolist() == sorted(part.rows["shard"].tolist())


def test_one_with_nothing_in_it(tmp_path):
    part, data = part_file.pack(*PartBuilder(make_settings()).build())
    (tmp_path / "a.part").write_bytes(data)
    assert plain(part_file.read_header(str(tmp_path / "a.part"), size=len(data))) == plain(part)
    assert (len(part.rows), part.num_inputs) == (0, 0)


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_half_a_part_is_noticed(built, tmp_path, keep):
    _, data = part_file.pack(*built)
    (tmp_path / "a.part").write_bytes(data[:keep])
    with pytest.raises(DamagedPartError):
        part_file.read_header(str(tmp_path / "a.part"), size=len(data[:keep]))


@pytest.mark.parametrize("place", [0, 17, 60, 600])
def test_a_damaged_head_is_noticed(built, tmp_path, place):
    _, data = part_file.pack(*built)
    damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    (tmp_path / "a.part").write_bytes(damaged)
    with pytest.raises(DamagedPartError):
        part_file.read_header(str(tmp_path / "a.part"), size=len(damaged))


def test_what_is_kept_of_a_head_does_not_hold_the_rest_of_it(built, tmp_path):
    _, data = part_file.pack(*built)
    (tmp_path / "a.part").write_bytes(data)
    part = part_file.read_header(str(tmp_path / "a.part"))
    assert all(array.base is None for array in (part.rows, part.signatures, part.contents))
