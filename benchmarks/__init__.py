"""What Jobsite measures of itself, beside peers where there are some. `python -m benchmarks` lists them."""
