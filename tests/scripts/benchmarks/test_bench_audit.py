"""scripts.benchmarks.audit runs, and what it says of memory holds; no test depends on how fast anything is."""

import re


def test_it_runs_and_no_case_holds_a_table_of_records_by_population(run_script):
    done = run_script("benchmarks/audit.py", "--repeats=1")
    assert done.returncode == 0, done.stderr
    memory = dict(re.findall(r"^  (\S+), .* ms +([\d.]+) MB", done.stdout, re.MULTILINE))
    assert set(memory) == {"lira", "lira_student", "lira_offline", "rmia", "rmia_offline"}
    assert all(float(megabytes) < 100 for megabytes in memory.values())  # the table would be 4,000
    assert re.search(r"lira, 64 shadows x 5000 records x 9 queries .*promised < 0.2 s: (met|NOT MET)", done.stdout)
