"""Which import, or which first call, loads which instrumentor; read at the start of every process.

A library that is never imported costs nothing. Where an instrumentor patches a function that is
looked up at each call, not even the import does: a row of :data:`FIRST_CALL` replaces the function
by a trampoline until its first call.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Imported module -> (entry point name, where it is). Two rows for one module are two instrumentors.
ON_IMPORT = (
    ("aio_pika", "aio-pika", "opentelemetry.instrumentation.aio_pika:AioPikaInstrumentor"),
    ("aiohttp.client", "aiohttp-client", "opentelemetry.instrumentation.aiohttp_client:AioHttpClientInstrumentor"),
    ("aiohttp.web", "aiohttp-server", "otel_distro.instrumentation.aiohttp_server:AioHttpServerInstrumentor"),
    ("aiobotocore", "aiobotocore", "opentelemetry.instrumentation.botocore:AiobotocoreInstrumentor"),
    ("aiokafka", "aiokafka", "opentelemetry.instrumentation.aiokafka:AIOKafkaInstrumentor"),
    ("aiopg", "aiopg", "opentelemetry.instrumentation.aiopg:AiopgInstrumentor"),
    ("asyncpg", "asyncpg", "opentelemetry.instrumentation.asyncpg:AsyncPGInstrumentor"),
    ("bottle", "bottle", "otel_distro.instrumentation.bottle_apps:BottleInstrumentor"),
    ("boto3", "boto3", "opentelemetry.instrumentation.boto3sqs:Boto3SQSInstrumentor"),
    ("botocore", "botocore", "opentelemetry.instrumentation.botocore:BotocoreInstrumentor"),
    ("cassandra", "cassandra", "opentelemetry.instrumentation.cassandra:CassandraInstrumentor"),
    # Not at "celery": its command lets gevent or eventlet patch the standard library between the two.
    ("celery.app", "celery", "opentelemetry.instrumentation.celery:CeleryInstrumentor"),
    ("confluent_kafka", "confluent_kafka", "opentelemetry.instrumentation.confluent_kafka:ConfluentKafkaInstrumentor"),
    ("django.test.client", "django", "otel_distro.instrumentation.django_apps:DjangoInstrumentor"),
    ("daphne.server", "asgi", "otel_distro.instrumentation.asgi_servers:AsgiServersInstrumentor"),
    ("eventlet.wsgi", "wsgi", "otel_distro.instrumentation.wsgi_servers:WSGIServersInstrumentor"),
    ("falcon", "falcon", "otel_distro.instrumentation.falcon_apps:FalconInstrumentor"),
    ("flask", "flask", "otel_distro.instrumentation.flask_apps:FlaskInstrumentor"),
    ("grpc", "grpc_client", "opentelemetry.instrumentation.grpc:GrpcInstrumentorClient"),
    ("grpc", "grpc_server", "opentelemetry.instrumentation.grpc:GrpcInstrumentorServer"),
    ("grpc.aio", "grpc_aio_client", "opentelemetry.instrumentation.grpc:GrpcAioInstrumentorClient"),
    ("grpc.aio", "grpc_aio_server", "opentelemetry.instrumentation.grpc:GrpcAioInstrumentorServer"),
    ("httpx", "httpx", "opentelemetry.instrumentation.httpx:HTTPXClientInstrumentor"),
    ("httpx2", "httpx2", "opentelemetry.instrumentation.httpx:HTTPX2ClientInstrumentor"),
    ("hypercorn.app_wrappers", "wsgi", "otel_distro.instrumentation.wsgi_servers:WSGIServersInstrumentor"),
    ("jinja2", "jinja2", "opentelemetry.instrumentation.jinja2:Jinja2Instrumentor"),
    ("kafka", "kafka", "opentelemetry.instrumentation.kafka:KafkaInstrumentor"),
    ("mysql.connector", "mysql", "opentelemetry.instrumentation.mysql:MySQLInstrumentor"),
    ("MySQLdb", "mysqlclient", "opentelemetry.instrumentation.mysqlclient:MySQLClientInstrumentor"),
    ("pika", "pika", "opentelemetry.instrumentation.pika:PikaInstrumentor"),
    ("psycopg", "psycopg", "opentelemetry.instrumentation.psycopg:PsycopgInstrumentor"),
    ("psycopg2", "psycopg2", "opentelemetry.instrumentation.psycopg2:Psycopg2Instrumentor"),
    ("pymemcache", "pymemcache", "opentelemetry.instrumentation.pymemcache:PymemcacheInstrumentor"),
    ("pymongo", "pymongo", "opentelemetry.instrumentation.pymongo:PymongoInstrumentor"),
    ("pymssql", "pymssql", "opentelemetry.instrumentation.pymssql:PyMSSQLInstrumentor"),
    ("pymysql", "pymysql", "opentelemetry.instrumentation.pymysql:PyMySQLInstrumentor"),
    ("pyramid.router", "pyramid", "otel_distro.instrumentation.pyramid_apps:PyramidInstrumentor"),
    ("redis", "redis", "opentelemetry.instrumentation.redis:RedisInstrumentor"),
    ("remoulade", "remoulade", "opentelemetry.instrumentation.remoulade:RemouladeInstrumentor"),
    ("sqlalchemy", "sqlalchemy", "otel_distro.instrumentation.sqlalchemy_engines:SQLAlchemyInstrumentor"),
    ("tornado.web", "tornado", "otel_distro.instrumentation.tornado_handlers:TornadoInstrumentor"),
    ("tornado.wsgi", "wsgi", "otel_distro.instrumentation.wsgi_servers:WSGIServersInstrumentor"),
    ("tortoise", "tortoiseorm", "opentelemetry.instrumentation.tortoiseorm:TortoiseORMInstrumentor"),
)

_FASTAPI = "otel_distro.instrumentation.starlette_apps:FastAPIInstrumentor"
_STARLETTE = "otel_distro.instrumentation.starlette_apps:StarletteInstrumentor"
_ASGI_SERVERS = "otel_distro.instrumentation.asgi_servers:AsgiServersInstrumentor"
_WSGI_SERVERS = "otel_distro.instrumentation.wsgi_servers:WSGIServersInstrumentor"

# Imported module, owner and attribute inside it, entry point name, where it is.
FIRST_CALL = (
    # The API itself: what a program records before the SDK is built would be lost. Not at the import of the API,
    # which may be incomplete then.
    ("opentelemetry.trace", "", "get_tracer", "api", ""),
    ("opentelemetry.trace", "", "get_tracer_provider", "api", ""),
    ("opentelemetry.trace", "", "set_tracer_provider", "api", ""),
    ("opentelemetry.metrics", "", "get_meter", "api", ""),
    ("opentelemetry.metrics", "", "get_meter_provider", "api", ""),
    ("opentelemetry.metrics", "", "set_meter_provider", "api", ""),
    ("opentelemetry._logs", "", "get_logger", "api", ""),
    ("opentelemetry._logs", "", "get_logger_provider", "api", ""),
    ("opentelemetry._logs", "", "set_logger_provider", "api", ""),
    ("cheroot.wsgi", "Server", "__init__", "wsgi", _WSGI_SERVERS),
    ("gevent.pywsgi", "WSGIServer", "__init__", "wsgi", _WSGI_SERVERS),
    ("gunicorn.workers.base", "Worker", "init_process", "wsgi", _WSGI_SERVERS),
    ("socketserver", "BaseServer", "serve_forever", "wsgi", _WSGI_SERVERS),
    ("waitress.server", "BaseWSGIServer", "__init__", "wsgi", _WSGI_SERVERS),
    ("waitress.task", "ThreadedTaskDispatcher", "start_new_thread", "wsgi", _WSGI_SERVERS),
    ("werkzeug.serving", "BaseWSGIServer", "__init__", "wsgi", _WSGI_SERVERS),
    ("wsgiref.handlers", "BaseHandler", "run", "wsgi", _WSGI_SERVERS),
    ("asyncclick.core", "Command", "invoke", "asyncclick",
     "otel_distro.instrumentation.click_commands:AsyncClickInstrumentor"),
    ("asyncio.base_events", "BaseEventLoop", "call_exception_handler", "error_tracking", ""),
    # At the first command: workers of uvicorn import click before the thread that answers its health check.
    ("click.core", "Command", "invoke", "click", "otel_distro.instrumentation.click_commands:ClickInstrumentor"),
    ("concurrent.futures._base", "Future", "set_exception", "error_tracking", ""),
    ("django.core.handlers.base", "BaseHandler", "load_middleware", "django",
     "otel_distro.instrumentation.django_apps:DjangoInstrumentor"),
    ("IPython.core.interactiveshell", "InteractiveShell", "run_cell_async", "ipython_cells",
     "otel_distro.instrumentation.ipython_cells:IpythonCellsInstrumentor"),
    ("IPython.core.interactiveshell", "InteractiveShell", "showtraceback", "ipython_cells",
     "otel_distro.instrumentation.ipython_cells:IpythonCellsInstrumentor"),
    # Called for each record and calls nothing itself, so no handler finds another frame above it.
    ("logging", "Filterer", "filter", "log_records", ""),
    ("logging", "Logger", "callHandlers", "log_records", ""),
    ("loguru._handler", "Handler", "emit", "loguru_records",
     "otel_distro.instrumentation.loguru_records:LoguruRecordsInstrumentor"),
    ("requests.sessions", "Session", "send", "requests", "opentelemetry.instrumentation.requests:RequestsInstrumentor"),
    ("sqlite3.dbapi2", "", "connect", "sqlite3", "opentelemetry.instrumentation.sqlite3:SQLite3Instrumentor"),
    ("sqlite3", "", "connect", "sqlite3", "opentelemetry.instrumentation.sqlite3:SQLite3Instrumentor"),
    # Made or, where it was unpickled, first used: before its first request.
    ("fastapi.applications", "FastAPI", "__init__", "fastapi", _FASTAPI),
    ("fastapi.applications", "FastAPI", "build_middleware_stack", "fastapi", _FASTAPI),
    ("starlette.applications", "Starlette", "__init__", "starlette", _STARLETTE),
    ("starlette.applications", "Starlette", "build_middleware_stack", "starlette", _STARLETTE),
    ("quart.app", "Quart", "__init__", "quart", "otel_distro.instrumentation.quart_apps:QuartInstrumentor"),
    ("litestar.app", "Litestar", "__init__", "litestar",
     "otel_distro.instrumentation.litestar_apps:LitestarInstrumentor"),
    ("uvicorn.server", "Server", "serve", "asgi", _ASGI_SERVERS),
    ("uvicorn.config", "Config", "load", "asgi", _ASGI_SERVERS),
    ("hypercorn.app_wrappers", "ASGIWrapper", "__call__", "asgi", _ASGI_SERVERS),
    ("hypercorn.app_wrappers", "WSGIWrapper", "__call__", "asgi", _ASGI_SERVERS),
    ("granian.server.mp", "", "_asgi_call_wrap", "asgi", _ASGI_SERVERS),
    ("granian.server.mp", "", "_wsgi_call_wrap", "asgi", _ASGI_SERVERS),
    ("granian.server.mt", "", "_asgi_call_wrap", "asgi", _ASGI_SERVERS),
    ("granian.server.mt", "", "_wsgi_call_wrap", "asgi", _ASGI_SERVERS),
    ("granian.server.embed", "", "_asgi_call_wrap", "asgi", _ASGI_SERVERS),
    ("gunicorn.workers.gasgi", "ASGIWorker", "load_wsgi", "asgi", _ASGI_SERVERS),
    ("structlog._base", "BoundLoggerBase", "__init__", "structlog_records",
     "otel_distro.instrumentation.structlog_records:StructlogRecordsInstrumentor"),
    ("threading", "", "excepthook", "error_tracking", ""),
    ("warnings", "", "_showwarnmsg", "error_tracking", ""),
    ("typer._click.core", "Command", "invoke", "click",
     "otel_distro.instrumentation.click_commands:ClickInstrumentor"),
    ("urllib.request", "OpenerDirector", "open", "urllib", "opentelemetry.instrumentation.urllib:URLLibInstrumentor"),
    ("urllib3.connectionpool", "HTTPConnectionPool", "urlopen", "urllib3",
     "opentelemetry.instrumentation.urllib3:URLLib3Instrumentor"),
)  # fmt: skip

# Those whose calls by other threads do not wait while telemetry starts: what they have to record is kept, or they
# have nothing to record.
WITHOUT_WAIT = {
    ("asyncio.base_events", "call_exception_handler"),
    ("logging", "filter"),
    ("logging", "callHandlers"),
    ("loguru._handler", "emit"),
    ("threading", "excepthook"),
}

# Instrumentors that run in every process in which telemetry has started, in this order.
ALWAYS = (
    ("error_tracking", "otel_distro.instrumentation.error_tracking:ErrorTrackingInstrumentor"),
    ("log_records", "otel_distro.instrumentation.log_records:LogRecordsInstrumentor"),
    ("process_metrics", "otel_distro.instrumentation.process_metrics:ProcessMetricsInstrumentor"),
    ("security_audit", "otel_distro.instrumentation.security_audit:SecurityAuditInstrumentor"),
    ("refused_attempts", "otel_distro.instrumentation.refused_attempts:RefusedAttemptsInstrumentor"),
    ("threading", "opentelemetry.instrumentation.threading:ThreadingInstrumentor"),
)

# Importing one of these starts telemetry: instrumentors for them come with other packages.
STARTS_TELEMETRY = (
    # Adds exporters of its own when an application starts: those of the distribution come first.
    "fastapi.telemetry._runtime",
    "openai",
    "anthropic",
    "google.genai",
    "langchain_core",
    "llama_index",
    "vertexai",
)


def calls_left_out(attribute: str) -> "Callable[..., bool] | None":
    """Return what decides whether a call of a function of :data:`FIRST_CALL` does not count."""
    if attribute != "invoke":
        return None
    from otel_distro._startup import commands

    return commands.is_left_out


def disabled(environ: "Mapping[str, str]") -> "set[str]":
    """Return the instrumentors that OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names; ``*`` names all.

    What a program records itself with the API is not instrumentation, so ``*`` leaves that alone.
    """
    names = {name.strip() for name in environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    if "*" in names:
        names.update(row[1] for row in ON_IMPORT)
        names.update(row[3] for row in FIRST_CALL if row[3] != "api")
        names.update(row[0] for row in ALWAYS)
    return names
