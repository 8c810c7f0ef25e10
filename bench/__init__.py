"""What we promise about speed, as ratios: each figure stands against a limit or a peer measured in the same run.

python -m bench                 everything, and docs/performance.md
python -m bench post rps        some of it
python -m bench --quick         few rounds: shows that it works, proves nothing
"""
