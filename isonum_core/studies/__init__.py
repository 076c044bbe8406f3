"""Studies: one file each, with its grid, its predictions and their judges; beside them the analyses of their chapters.

Where a row comes from: `python -m isonum_core run skill --profile cpu` calls `skill.run` for every configuration of
`skill.grid("cpu")` and appends its rows to a journal; the end of the run makes of that book/results/skill.cpu.csv and,
beside it, the JSON that says what made it. A chapter reads both by `lab.table.load_table` and draws, and
`lab.expectation.judged` puts a study's `EXPECTED` to what it found. No wing imports a study: the lab finds it by its
name.
"""
