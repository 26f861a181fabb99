"""Four CPU devices in the test process, so that strategies of several replicas run here.

Devices are fixed when TensorFlow first computes something; this file is loaded before any test runs.
"""

import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration() for _ in range(4)]
)
