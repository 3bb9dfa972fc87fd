"""The cases of scripts.benchmarks.private: networks, ways to clip and to add noise, and how they are timed."""
