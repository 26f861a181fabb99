from trainer.training import clock


class FakeTime:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_the_first_work_of_each_kind_does_not_count(monkeypatch):
    time = FakeTime()
    monkeypatch.setattr(clock, "time", time)
    one = clock.Clock(60.0)  # of an earlier start
    for kind, seconds, want in [
        ("step", 30.0, 60.0),
        ("step", 1.0, 61.0),
        ("validation", 20.0, 61.0),
        ("validation", 2.0, 63.0),
        ("step", 1.0, 64.0),
    ]:
        with one.work(kind):
            time.now += seconds
        assert one.seconds == want
    time.now += 5.0  # between pieces of work, such as a checkpoint
    assert one.seconds == 69.0


def test_first_work_that_fails_does_not_count_either(monkeypatch):
    time = FakeTime()
    monkeypatch.setattr(clock, "time", time)
    one = clock.Clock(0.0)
    try:
        with one.work("validation"):
            time.now += 7.0
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert one.seconds == 0.0


def test_the_first_work_of_each_kind_is_said(capsys):
    one = clock.Clock(0.0)
    for _ in range(2):
        with one.work("step"):
            pass
    assert capsys.readouterr().err == "compiling, and the first step\ncompiling, and the first step: 0.0 s\n"
