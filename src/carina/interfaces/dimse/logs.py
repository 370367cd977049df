"""pynetdicom writes whole data sets into its log lines, so its loggers are closed."""

from __future__ import annotations

import logging

from pynetdicom import _config


def close_logs() -> None:
    """Let no logger of pynetdicom write."""
    _config.LOG_HANDLER_LEVEL = "none"  # else each message is written out, only to be dropped
    for name in ("pynetdicom", *(name for name in logging.Logger.manager.loggerDict if name.startswith("pynetdicom."))):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
