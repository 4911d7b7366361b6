"""Models of attention from before deep learning, each written from its paper. NumPy, SciPy and OpenCV."""
