"""`openevs demo`: the whole life of a snapshot on a real file system, against a service of its own, over HTTP only.

`story` tells it. The other modules are what it needs, and what the benchmarks need too: a service in a process of its
own, a client of its API, a disk image of files, a writer whose every request is timed and whose every record is known.
"""
