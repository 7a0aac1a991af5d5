"""How a reader ends on a damaged input, for the tests that try many of them."""

import signal

from osgeo import gdal

from lsm.run.settings import LONGEST, InputError

SLOW = 10  # s of the processor: other programs may hold it up


def outcome(read):
    """What read() returns, None where it refuses in one line. Any other end fails the test."""
    before = signal.signal(signal.SIGVTALRM, _too_slow)
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOW)
    gdal.PushErrorHandler("CPLQuietErrorHandler")  # its warnings are the stage's to print
    try:
        return read()
    except InputError as error:
        message = str(error)
        assert message
        assert len(message) <= LONGEST
        assert message.isprintable()
        return None
    finally:
        gdal.PopErrorHandler()
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _too_slow(*_):
    raise TimeoutError(f"a reader took more than {SLOW} s")
