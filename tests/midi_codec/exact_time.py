"""Tempo changes at random, and the time they make, added up one by one."""

import numpy as np


def random_tempos(generator: np.random.Generator, num_changes: int) -> tuple[np.ndarray, np.ndarray]:
    """Several changes a tick, and repeated values, among them."""
    ticks = np.sort(generator.integers(0, 2000, num_changes))
    return ticks, generator.integers(1, 2**24, num_changes) // 2**22 * 2**22 + 1


def exact_microseconds(tick: int, tempos: tuple[np.ndarray, np.ndarray]) -> int:
    """Microseconds times the division, added up tick by tick's change."""
    total, last_tick, microseconds = 0, 0, 500_000
    for change_tick, change in zip(*(column.tolist() for column in tempos), strict=True):
        if change_tick > tick:
            break
        total += (change_tick - last_tick) * microseconds
        last_tick, microseconds = change_tick, change
    return total + (tick - last_tick) * microseconds
