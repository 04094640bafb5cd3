"""Logs through logging, loguru and structlog, through queues, with several configurations."""

import io
import logging
import logging.config
import logging.handlers
import queue
import sys
import threading

import loguru
import structlog

early = logging.getLogger("shop.early")
logging.getLogger("shop.unconfigured").warning("by lastResort")
early.debug("nobody asked for it")

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(funcName)s %(lineno)d %(message)s")
early.info("by basicConfig", extra={"order": 7, "paid": True, "items": ["tea", 2], "sums": {"net": 1.5}})

SILENCING = {
    "version": 1,
    "disable_existing_loggers": True,
    "formatters": {"f": {"format": "{levelname} {message}", "style": "{"}},
    "handlers": {"h": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "f"}},
    "root": {"level": "INFO", "handlers": ["h"]},
}
logging.config.dictConfig(SILENCING)
early.info("switched off by dictConfig")
early.debug("too low")
logging.getLogger("shop.late").info("by dictConfig")

off = logging.getLogger("shop.off")
off.disabled = True
off.error("switched off by the program")

waiting = queue.Queue()
queued = logging.getLogger("shop.queued")
queued.propagate = False
queued.addHandler(logging.handlers.QueueHandler(waiting))
listener = logging.handlers.QueueListener(waiting, logging.StreamHandler(sys.stdout))
listener.start()
queued.warning("through a %s", "queue")
listener.stop()
queued.warning("through our own listener")
own = threading.Thread(target=lambda: logging.getLogger("shop.listener").handle(waiting.get()))
own.start()
own.join()


class Loud:
    def __str__(self):
        print("asked for its text")
        logging.getLogger("shop.loud").info("while it is asked")
        return "loud"


logging.getLogger("shop.late").info("an object that is %s", Loud())
logging.getLogger("shop.late").warning("%d is no number", "tea")

loguru.logger.remove()
loguru.logger.add(sys.stdout, format="{level} {name} {function} {line} {message} {extra}", level="INFO")


def by_loguru():
    loguru.logger.bind(order=8).info("by {}", "loguru")
    loguru.logger.debug("below the sink")
    try:
        int("tea")
    except ValueError:
        loguru.logger.exception("failed in loguru")


by_loguru()


class ToLoguru(logging.Handler):
    def emit(self, record):
        loguru.logger.opt(depth=6, exception=record.exc_info).log(record.levelname, record.getMessage())


relayed = logging.getLogger("shop.relayed")
relayed.propagate = False
relayed.addHandler(ToLoguru())
relayed.warning("to loguru and not twice")


def by_structlog(log):
    log.info("by structlog", order=9)
    try:
        int("tea")
    except ValueError:
        log.exception("failed in structlog")


chain = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.CallsiteParameterAdder({structlog.processors.CallsiteParameter.FUNC_NAME}),
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(sort_keys=True),
]
structlog.configure(processors=chain, cache_logger_on_first_use=True)
by_structlog(structlog.get_logger())
structlog.configure(
    processors=chain, logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger
)
by_structlog(structlog.get_logger("shop.structlog"))

INI = "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=\n[logger_root]\nlevel=INFO\nhandlers=h\n[handler_h]\n"
once_more = logging.getLogger("shop.once.more")
logging.config.fileConfig(io.StringIO(f"{INI}class=StreamHandler\nargs=(sys.stdout,)\n"))
once_more.warning("switched off by fileConfig")
once_more.disabled = False
once_more.warning("switched on again")
