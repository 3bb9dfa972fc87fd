"""Reports: figures with intervals, the check of a privacy claim, slices, a table, JSON, a page, a gate."""
