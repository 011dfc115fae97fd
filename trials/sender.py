"""A sender that behaves as Pollo's page says: after a failure it tries again, ten times at most."""

RETRIES = 10


def deliver(call, waits, wait):
    """Makes the `call`, and again after each of the `waits`, until it is answered 200. Gives the number of that try."""
    for number, seconds in enumerate([0, *waits], 1):
        if number > 1:
            wait(seconds)
        if call() == 200:
            return number
    return None
