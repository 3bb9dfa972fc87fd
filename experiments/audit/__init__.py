"""Does quantisation protect against the strongest attacks, or only against thresholds?"""
