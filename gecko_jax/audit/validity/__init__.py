"""Validity: is the question well put? Containers, members and non-members, the pool, the design, blind baselines."""
