"""Who attacks: the attacks that the readings suffice for, and where each begins to say "member"."""
