"""Data sets: seeded generators, and the code that writes verl's parquet schema."""
