"""One folder a claim: how to check it in one command, and the figures to expect."""
