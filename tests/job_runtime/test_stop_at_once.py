import signal

import pytest

from job_runtime.stop_at_once import StopAtOnce


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_an_interrupt_where_python_stands(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), StopAtOnce() as stop:
        signal.raise_signal(number)
    assert stop.requested
    assert signal.getsignal(number) is before
