"""Work on the CPU in a child process with limits: it cannot take the worker down with it."""

from datetime import timedelta

from holdfast import App, Isolation, JobContext, RetryPolicy
from holdfast.errors import StepFailedError

LIMITS = Isolation(memory_bytes=1024**3, timeout=timedelta(seconds=10))


def primes_below(limit: int) -> list[int]:
    """A plain function at the top level of a module: a child process finds it by name."""
    return [n for n in range(2, limit) if all(n % d for d in range(2, int(n**0.5) + 1))]


def greedy() -> int:
    """Ask for more memory than the limit allows."""
    return len(bytearray(4 * 1024**3))


app = App()


@app.job("primes")
async def primes(job: JobContext, limit: int) -> str:
    found = await job.step("primes", primes_below, limit, isolate=LIMITS)
    try:
        await job.step("greedy", greedy, isolate=LIMITS, retry=RetryPolicy(attempts=1))
    except StepFailedError as error:
        # The child is gone, the worker is not: the job goes on.
        return f"{len(found)} primes; {type(error.__cause__).__name__}"
    return "there is no limit on this platform"


# The child imports this file to find its function, so the main part needs its guard.
if __name__ == "__main__":
    print(app.run("primes", 10_000))
