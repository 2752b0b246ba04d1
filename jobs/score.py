"""The performance score of a job."""


def performance_score(*, errors: int, retries: int, peak_memory_mb: float, cpu_percent: float) -> int:
    """100, less 10 an error, less 5 a retry; plus 5 under 512 MB peak, plus 5 under 50 % average CPU; within 0..100."""
    score = 100 - 10 * errors - 5 * retries + 5 * (peak_memory_mb < 512) + 5 * (cpu_percent < 50)
    return max(0, min(100, score))
