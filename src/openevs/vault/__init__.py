"""Where backups are kept: content cut in chunks that are named by their hash, in a folder or an S3 bucket.

Read `port.py` for what it promises, `index.py` for the format, docs/adr/0012-backups.md for why.
"""
