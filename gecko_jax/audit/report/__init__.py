"""What is said: figures with intervals, the claim held against them, slices, a table, JSON, a page, a gate."""
