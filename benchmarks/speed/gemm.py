"""The machine's GEMM rate: the best rate of the available libraries for products of large square matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.harness.rounds import Case, Rate, timed
from benchmarks.peers.serve import GEMM_SIZE

AMOUNT = 2.0 * GEMM_SIZE**3  # FLOPs of one product


def gemm_product(precision: str) -> Callable[[], object]:
    """TensorFlow's product; a call waits for its end."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal([GEMM_SIZE, GEMM_SIZE]), precision)
    product = tf.function(lambda: tf.reduce_max(tf.matmul(matrix, matrix)))
    return lambda: product().numpy()


def gemm_case(precision: str) -> Case:
    """TensorFlow's product in this process, `gemm_tensorflow_<precision>`."""
    return Case(f"gemm_tensorflow_{precision}", timed(gemm_product(precision)), AMOUNT, "FLOP")


def gemm_of_peer(name: str, seconds: Callable[[str], float]) -> Case:
    """The same in another process, requested by name."""
    return Case(name, lambda: seconds(name), AMOUNT, "FLOP")


def shares_of_limit(rates: Mapping[str, Rate], flops: Mapping[str, float], precision: str) -> dict[str, float]:
    """Each case's share of the best GEMM rate in the same run.

    Args:
      rates: of the cases and of all `gemm_*_<precision>`, per second.
      flops: by case, FLOPs of its matrix products per unit of its rate.
      precision: of the products.
    """
    limit = max(
        rate.median for name, rate in rates.items() if name.startswith("gemm_") and name.endswith(f"_{precision}")
    )
    return {name: rates[name].median * flops[name] / limit for name in flops if name in rates}
