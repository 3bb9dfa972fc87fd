"""What a private run costs: epsilon and delta of sampled Gaussian steps, and the noise that meets a budget.

epsilon.py prices, calibration.py finds the noise or the steps, groups.py and ceiling.py turn a guarantee into other
figures. The accountants stand in accountants.py over phases.py; each bound has a file: renyi.py, loss_distributions.py,
participation.py. `gecko_jax.privacy` lists the public names.
"""
