"""Does quantization protect against the strongest attacks, or only against thresholds?"""
