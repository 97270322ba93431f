"""What a worker hears of its chief: answers, or one line that it is gone."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import grpc
from keras_tuner import errors

logger = logging.getLogger(__name__)

SECONDS_BEFORE_A_WORD = 10.0

_GONE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


class ChiefStub:
    """KerasTuner's gRPC stub, for people who look at a worker's messages.

    KerasTuner's client waits an hour for a chief without a word, because the
    workers may be there first, and ends in a traceback where it goes away.

    Args:
        stub: KerasTuner's.
        address: The chief's, `IP:PORT`.
    """

    def __init__(self, stub: Any, address: str) -> None:
        self._stub = stub
        self._address = address

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a method of the stub.

        The method raises `FatalTypeError` where the chief does not answer:
        other errors KerasTuner takes for a trial's failure.
        """
        method = getattr(self._stub, name)

        def call(request: Any, **settings: Any) -> Any:
            timer = threading.Timer(SECONDS_BEFORE_A_WORD, self._say)
            timer.daemon = True
            timer.start()
            try:
                return method(request, **settings)
            except grpc.RpcError as error:
                raise errors.FatalTypeError(self._why(error)) from error
            finally:
                timer.cancel()

        return call

    def _say(self) -> None:
        logger.info("waiting for the chief at %s", self._address)

    def _why(self, error: grpc.RpcError) -> str:
        if error.code() in _GONE:
            return (
                f"the chief at {self._address} is gone; start it and this "
                "command again"
            )
        return f"the chief at {self._address} failed: {error.details()}"
