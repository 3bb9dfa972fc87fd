"""Scoring: which attacks the readings suffice for, their scores, and where each begins to say "member".

- `selection`, `attack_plan`: the attacks that an audit runs, decided once, and why others do not run.
- `feasible`: which of them the records and the outputs allow.
- `thresholds`: chosen on shadow models that stand in for the target, or on the other half of the records.
- `run_attacks`: the scores and thresholds of every attack on every target.
"""
