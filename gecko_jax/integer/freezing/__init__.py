"""From a traced model to an integer network.

program -> read -> Operations     what the model computes, in real numbers: linear maps, pools, elementwise steps
        -> measure -> ranges      the smallest and the largest number of each channel on the calibration data
        -> emit -> IntegerGraph   codes, multipliers, thresholds
"""

from gecko_jax.integer.freezing.freeze import freeze

__all__ = ["freeze"]
