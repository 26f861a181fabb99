"""Objects, rows and texts in temporary files."""

import numpy as np
import pytest

from job_runtime import spool as spool_lib
from job_runtime.spool import ArraySpool, Spool, TextSpool


def test_items_come_back_in_order_as_often_as_wanted():
    spool = Spool[dict]()
    assert list(spool) == [] and len(spool) == 0
    for number in range(3):
        spool.append({"number": number})
    assert list(spool) == list(spool) == [{"number": 0}, {"number": 1}, {"number": 2}]
    spool.append({})
    assert (len(spool), list(spool)[3]) == (4, {})


ROWS = np.array([(number, number / 2) for number in range(10)], [("id", "u4"), ("half", "f8")])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(spool_lib, "ROWS_AT_ONCE", 4)


def test_rows_come_back_in_blocks_and_in_any_order():
    spool = ArraySpool(ROWS.dtype)
    assert (len(spool), list(spool.blocks()), spool.column("id").tolist()) == (0, [], [])
    spool.append(ROWS[:7])
    assert spool.take(np.array([6, 0, 6]))["id"].tolist() == [6, 0, 6]
    spool.append(ROWS[7:])
    assert [block["id"].tolist() for block in spool.blocks()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert spool.take(slice(5, 8)).tolist() == ROWS[5:8].tolist()
    assert spool.column("half").tolist() == ROWS["half"].tolist()


def test_rows_of_several_numbers():
    spool = ArraySpool((np.uint16, (3,)))
    assert spool.take(slice(0, 4)).shape == (0, 3)
    spool.append(np.arange(12).reshape(4, 3)[:, ::-1])
    assert spool.take(np.array([3, 1])).tolist() == [[11, 10, 9], [5, 4, 3]]


def test_what_was_taken_is_a_copy():
    spool = ArraySpool(np.int64)
    spool.append(np.arange(3))
    spool.take(slice(0, 3))[:] = 9
    assert spool.take(slice(0, 3)).tolist() == [0, 1, 2]


def test_texts():
    texts = ["", "a", "caf\udce9.mid", "ü\0", "\U0001f3b5", "last"]
    spool = TextSpool()
    assert list(spool) == [] and spool.take(np.zeros(0, np.int64)) == []
    spool.append(texts[:2])
    spool.append([])
    spool.append(texts[2:])
    assert (len(spool), list(spool), list(spool.read(1, 6))) == (6, texts, texts[1:])
    assert spool.take(np.array([5, 2, 2, 0])) == ["last", "caf\udce9.mid", "caf\udce9.mid", ""]
