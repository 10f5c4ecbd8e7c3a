"""Many files on many machines: fetched from anywhere, done by a Ray Data pool of actors, one Parquet data set out.

`find_items` says what there is to do, `make_task` makes it tasks, `run_cluster` does them; `errand` is what a worker
does with one file.
"""
