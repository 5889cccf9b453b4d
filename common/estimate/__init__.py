"""What a run will need before anything has run: parameters, memory, disk and GPU-hours."""
