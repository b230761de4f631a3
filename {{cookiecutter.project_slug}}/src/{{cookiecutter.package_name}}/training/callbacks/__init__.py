"""Lightning callbacks: averaging, clipping, speed, progress, pictures, curves."""
