"""Reading: a model, its outputs or its saved signals -> Readings of the target and of its shadow models.

- `readings`: what comes out: outputs, outputs of moved copies, values of other signals; and which signals these allow.
- `model_reader`: asks a model, by its outputs and by the readers of `gecko_jax.probes`.
- `encoding`, `class_names`: outputs and labels that a caller gives, checked; which class a column is.
- `saved_signals`: values that a caller saved, checked.
- `recipes`, `shadows`, `shadow_files`: how a recipe is called; shadow models, trained, read and kept in a folder.
- `recipe_checks`: warnings about models in training mode and about recipes that ignore their rows.
- `ensemble_signals`: one signal of several models, each of which may stand in for the target.
"""
