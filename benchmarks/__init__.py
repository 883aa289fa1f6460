"""Measurements: accuracy against published figures, decision quality, speed against peers.

Each module runs as `python -m benchmarks.NAME` and writes `benchmarks/results/NAME.json` and
`.md`. Those on recorded runs read the tables in `../shared/data`, or in the folder that
`JAXCASCADE_DATA` names.
"""
