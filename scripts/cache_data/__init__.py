"""Makes the files of crates/cache-data/data; see scripts/build-cache-data.py."""
