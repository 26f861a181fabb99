"""Objects in a temporary file."""

from job_runtime.spool import Spool


def test_items_come_back_in_order_as_often_as_wanted():
    spool = Spool[dict]()
    assert list(spool) == [] and len(spool) == 0
    for number in range(3):
        spool.append({"number": number})
    assert list(spool) == list(spool) == [{"number": 0}, {"number": 1}, {"number": 2}]
    spool.append({})
    assert (len(spool), list(spool)[3]) == (4, {})
